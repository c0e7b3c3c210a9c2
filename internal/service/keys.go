package service

import (
	"context"
	"fmt"

	"stevedore/internal/controlapi"
	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// keyTable is the access keys that may call the API.
type keyTable map[string]controlapi.Key

// Lookup finds a key.
func (t keyTable) Lookup(accessKey string) (controlapi.Key, bool) {
	k, ok := t[accessKey]
	return k, ok
}

// keys returns the keys of the configuration. Without any, the API accepts
// exactly the key pair the process was started with.
func (c *Config) keys(ctx context.Context, objects objectstore.Config) (keyTable, error) {
	t := keyTable{}
	for _, k := range c.Keys {
		t[k.AccessKey] = controlapi.Key{Secret: k.SecretKey, SessionToken: k.SessionToken, Account: k.Account}
	}
	if len(t) > 0 {
		return t, nil
	}
	own, err := objects.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoCredentials, err)
	}
	t[own.AccessKeyID] = controlapi.Key{Secret: own.SecretAccessKey, SessionToken: own.SessionToken, Account: c.Account}
	return t, nil
}

// oneStore lets every role of a known account stand for the one object store.
type oneStore struct {
	keys  keyTable
	store *objectstore.Store
}

// Allowed returns a *job.DeniedError unless role belongs to account.
func (o oneStore) Allowed(account, role string) error {
	if job.AccountOfRole(role) != account {
		return &job.DeniedError{Message: "Cross-account pass role is not allowed"}
	}
	return nil
}

// Store returns the store.
func (o oneStore) Store(context.Context, string, string) (*objectstore.Store, error) {
	return o.store, nil
}
