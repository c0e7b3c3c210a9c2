package objectstore

// Escaping as S3 signs it: everything but A-Z a-z 0-9 - . _ ~ becomes %XX in capitals. The path keeps its slashes, a
// query value does not. Neither url.PathEscape nor url.QueryEscape does this: stores compare signatures byte by byte.

const upperHex = "0123456789ABCDEF"

// plain marks the bytes that stand for themselves.
var plain = func() (t [256]bool) {
	for c := range 256 {
		b := byte(c)
		t[c] = b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~'
	}
	return t
}()

// AppendPath appends key as it stands in a path: slashes are kept, and so are empty and dotted segments.
func AppendPath[T string | []byte](dst []byte, key T) []byte { return appendEscaped(dst, key, true) }

// AppendValue appends value as it stands in a query: slashes are escaped too.
func AppendValue[T string | []byte](dst []byte, value T) []byte {
	return appendEscaped(dst, value, false)
}

func appendEscaped[T string | []byte](dst []byte, s T, slash bool) []byte {
	from := 0
	for i := range len(s) {
		c := s[i]
		if plain[c] || slash && c == '/' {
			continue
		}
		dst = append(dst, s[from:i]...)
		dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		from = i + 1
	}
	return append(dst, s[from:]...)
}

// CopySource is the value of x-amz-copy-source for one object, or for one version of it if versionID is not empty.
func CopySource(bucket string, key, versionID []byte) string {
	b := make([]byte, 0, len(bucket)+len(key)+len(versionID)+32)
	b = AppendValue(b, bucket)
	b = append(b, '/')
	b = AppendPath(b, key)
	if len(versionID) > 0 {
		b = append(b, "?versionId="...)
		b = AppendValue(b, versionID)
	}
	return string(b)
}

// MayBeBucket reports whether any store may have a bucket of that name. Old buckets have capitals and underscores; with a
// colon, Ceph has that of another tenant. What else comes, such as a key where the bucket is meant to be, is not for a
// store to be asked: some answer that the signature is wrong.
func MayBeBucket(name string) bool {
	for _, b := range []byte(name) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '.', b == '-', b == '_', b == ':':
		default:
			return false
		}
	}
	return true
}
