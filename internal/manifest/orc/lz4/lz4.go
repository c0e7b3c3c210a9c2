// Package lz4 decompresses blocks of LZ4, in which ORC and Parquet files may be compressed. The format
// is that of https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md; blocks have no frame and
// carry no size.
package lz4

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt is the error of a block that is none, or has more in it than asked for.
var ErrCorrupt = errors.New("lz4: not a valid block")

// Decode appends what src has been compressed from, at most size bytes, to dst.
func Decode(dst, src []byte, size int) ([]byte, error) {
	start := len(dst)
	end := start + size
	for len(src) > 0 {
		token := src[0]
		src = src[1:]

		literals, rest, ok := length(int(token>>4), src)
		if !ok || literals > len(rest) || literals > end-len(dst) {
			return dst, ErrCorrupt
		}
		dst = append(dst, rest[:literals]...)
		src = rest[literals:]
		if len(src) == 0 {
			return dst, nil // the last sequence is literals only
		}

		if len(src) < 2 {
			return dst, ErrCorrupt
		}
		offset := int(binary.LittleEndian.Uint16(src))
		match, rest, ok := length(int(token&0xf), src[2:])
		match += 4
		if !ok || offset == 0 || offset > len(dst)-start || match > end-len(dst) {
			return dst, ErrCorrupt
		}
		src = rest
		// The match may overlap with what it makes: copy what there is, again and again.
		for match > 0 {
			n := min(match, offset)
			from := len(dst) - offset
			dst = append(dst, dst[from:from+n]...)
			match -= n
		}
	}
	return dst, ErrCorrupt
}

// length reads what a length of the token goes on with.
func length(n int, src []byte) (total int, rest []byte, ok bool) {
	if n < 15 {
		return n, src, true
	}
	for i, b := range src {
		n += int(b)
		if b != 255 {
			return n, src[i+1:], true
		}
	}
	return 0, nil, false
}
