package service

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"stevedore/internal/controlapi"
)

// keyTable is the access keys that may call the API.
type keyTable map[string]controlapi.Key

// Lookup finds a key.
func (t keyTable) Lookup(accessKey string) (controlapi.Key, bool) {
	k, ok := t[accessKey]
	return k, ok
}

// keys returns the keys of the configuration. Without any, the API accepts
// exactly the key pair that own gives, which is that of the default store.
func (c *Config) keys(ctx context.Context, own aws.CredentialsProvider) (keyTable, error) {
	t := keyTable{}
	for i, k := range c.Keys {
		secretKey, err := secret(k.SecretKey, k.SecretKeyFile)
		if err != nil {
			return nil, fmt.Errorf("keys[%d].secret_key_file: %w", i, err)
		}
		token, err := secret(k.SessionToken, k.SessionTokenFile)
		if err != nil {
			return nil, fmt.Errorf("keys[%d].session_token_file: %w", i, err)
		}
		t[k.AccessKey] = controlapi.Key{Secret: secretKey, SessionToken: token, Account: k.Account}
	}
	if len(t) > 0 {
		return t, nil
	}
	if own == nil {
		return nil, ErrNoCredentials
	}
	pair, err := own.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoCredentials, err)
	}
	t[pair.AccessKeyID] = controlapi.Key{Secret: pair.SecretAccessKey, SessionToken: pair.SessionToken, Account: c.Account}
	return t, nil
}
