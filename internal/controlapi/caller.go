package controlapi

import "context"

type callerKey struct{}

// withCaller notes who signed a request that was let in.
func withCaller(ctx context.Context, accessKey string) context.Context {
	return context.WithValue(ctx, callerKey{}, accessKey)
}

// CallerOf is the access key that signed the request of ctx, the context that
// Jobs.Create is called with. Who may pass which role hangs on it.
func CallerOf(ctx context.Context) string {
	key, _ := ctx.Value(callerKey{}).(string)
	return key
}
