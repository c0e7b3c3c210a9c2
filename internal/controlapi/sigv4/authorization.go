package sigv4

import (
	"slices"
	"strings"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
)

// authorization is an Authorization header taken apart.
type authorization struct {
	accessKey string
	date      string // of the scope, YYYYMMDD
	region    string
	service   string
	signed    []string // names of the signed headers, lower case, as listed
	signature string   // lower-case hex of 32 bytes
}

// scope is what the signing key was derived for.
func (a *authorization) scope() string {
	return strings.Join([]string{a.date, a.region, a.service, terminator}, "/")
}

// parseAuthorization reads the header form of SigV4:
//
//	AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, SignedHeaders=a;b, Signature=<hex>
//
// The error is always an *Error.
func parseAuthorization(header string) (*authorization, error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	if name != algorithm {
		return nil, &Error{InvalidRequest, "the authorization mechanism is not supported; use " + algorithm}
	}
	var a authorization
	seen := map[string]bool{}
	for part := range strings.SplitSeq(rest, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || seen[key] {
			return nil, malformed("want Credential, SignedHeaders and Signature, each once")
		}
		seen[key] = true
		var err error
		switch key {
		case "Credential":
			err = a.readCredential(value)
		case "SignedHeaders":
			err = a.readSigned(value)
		case "Signature":
			if len(value) != 64 || strings.ContainsFunc(value, notHex) {
				err = malformed("Signature is not 64 lower-case hex digits")
			}
			a.signature = value
		default:
			err = malformed("it has a part that is none of Credential, SignedHeaders, Signature")
		}
		if err != nil {
			return nil, err
		}
	}
	if len(seen) != 3 {
		return nil, malformed("want Credential, SignedHeaders and Signature, each once")
	}
	return &a, nil
}

func (a *authorization) readCredential(value string) error {
	parts := strings.Split(value, "/")
	n := len(parts)
	if n < 5 || parts[n-1] != terminator {
		return malformed("Credential is not <access key>/<date>/<region>/<service>/" + terminator)
	}
	a.accessKey = strings.Join(parts[:n-4], "/") // an access key may contain slashes
	a.date, a.region, a.service = parts[n-4], parts[n-3], parts[n-2]
	switch {
	case a.accessKey == "" || len(a.accessKey) > 128:
		return malformed("the access key of Credential has no legal length")
	case len(a.date) != 8 || strings.ContainsFunc(a.date, notDigit):
		return malformed("the date of Credential is not YYYYMMDD")
	case a.region == "" || len(a.region) > 64 || strings.ContainsFunc(a.region, notLabel):
		// The region becomes part of ARNs and of keys in the job store.
		return malformed("the region of Credential is not made of letters, digits and -")
	}
	return nil
}

func (a *authorization) readSigned(value string) error {
	a.signed = strings.Split(value, ";")
	const most = 100
	for _, name := range a.signed {
		if name == "" || strings.ContainsFunc(name, notHeader) {
			return malformed("SignedHeaders is not a list of lower-case header names")
		}
	}
	if len(a.signed) > most || !slices.IsSorted(a.signed) || len(slices.Compact(slices.Clone(a.signed))) != len(a.signed) {
		return malformed("SignedHeaders is not sorted, repeats a name or is too long")
	}
	return nil
}

func malformed(what string) error {
	return &Error{AuthorizationHeaderMalformed, "the authorization header is malformed: " + what}
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

func notHex(r rune) bool { return notDigit(r) && (r < 'a' || r > 'f') }

func notLower(r rune) bool { return r < 'a' || r > 'z' }

func notLabel(r rune) bool {
	return notDigit(r) && notLower(r) && (r < 'A' || r > 'Z') && r != '-'
}

// notHeader is the complement of the token characters of RFC 9110 in lower case.
func notHeader(r rune) bool {
	return notDigit(r) && notLower(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
