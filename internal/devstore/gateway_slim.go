//go:build slim

package devstore

import "context"

const included = false

func serve(context.Context, Config, func(addr string)) error { return ErrLeftOut }
