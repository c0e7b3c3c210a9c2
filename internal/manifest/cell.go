package manifest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"
)

// bom is the byte order mark in UTF-8.
const bom = "\ufeff"

const (
	maxKey     = 1024 // bytes of a decoded key, the limit of S3
	maxVersion = 1024 // bytes of a version id, the limit of S3
)

// checkText says what keeps line from being a line of text, "" if nothing.
func checkText(line []byte) string {
	if bytes.HasPrefix(line, []byte(bom)) {
		return "the line starts with a byte order mark; save the file as UTF-8 without BOM"
	}
	if i := bytes.IndexByte(line, 0); i >= 0 {
		return fmt.Sprintf("NUL at byte %d; the file must be UTF-8 text", i+1)
	}
	if i := bytes.IndexByte(line, '\r'); i >= 0 {
		return fmt.Sprintf("carriage return at byte %d; lines end with LF or CRLF, cells have no line breaks", i+1)
	}
	if !utf8.Valid(line) {
		i := invalidUTF8(line)
		return fmt.Sprintf("not UTF-8: byte 0x%02X at byte %d", line[i], i+1)
	}
	return ""
}

// invalidUTF8 returns the index of the first byte of text that is not part of valid UTF-8.
func invalidUTF8(text []byte) int {
	i := 0
	for i < len(text) {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		i += size
	}
	return i
}

// unquote reads the quoted cell that text starts with and returns the number of bytes it takes; after
// them comes a comma or the end of text. A cell with doubled quotes is built at the end of arena.
func unquote(text, arena []byte) (cell []byte, size int, grown []byte, problem string) {
	from := len(arena)
	start, pos := 1, 1
	for {
		i := bytes.IndexByte(text[pos:], '"')
		if i < 0 {
			return nil, 0, arena, "the quote is not closed; cells have no line breaks"
		}
		pos += i + 1 // just after the quote
		switch {
		case pos < len(text) && text[pos] == '"':
			arena = append(arena, text[start:pos]...)
			pos++
			start = pos
			continue
		case pos < len(text) && text[pos] != ',':
			return nil, 0, arena, "text after the closing quote"
		}
		cell = text[start : pos-1 : pos-1]
		if start > 1 {
			arena = append(arena, cell...)
			cell = arena[from:len(arena):len(arena)]
		}
		return cell, pos, arena, ""
	}
}

// decode decodes the key of a cell: %XX, and + as a space, since S3 writes its own lists that way. A key with anything to
// decode is built at the end of arena.
func decode(raw, arena []byte) (key, grown []byte, problem string) {
	i := 0
	for i < len(raw) && raw[i] != '%' && raw[i] != '+' {
		i++
	}
	if i == len(raw) {
		return raw, arena, ""
	}
	from := len(arena)
	arena = slices.Grow(arena, len(raw))
	out := arena[from : from+len(raw)]
	n := copy(out, raw[:i])
	for ; i < len(raw); i++ {
		b := raw[i]
		switch b {
		case '%':
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return nil, arena, quote(raw[i:min(i+3, len(raw))]) + " is no % and two hexadecimal digits; write a % in a key as %25"
			}
			b = digit(raw[i+1])<<4 | digit(raw[i+2])
			i += 2
		case '+':
			b = ' '
		}
		out[n] = b
		n++
	}
	arena = arena[:from+n]
	key = out[:n:n]
	if !utf8.Valid(key) {
		return nil, arena, fmt.Sprintf("%s is not UTF-8 after decoding: byte 0x%02X", quote(raw), key[invalidUTF8(key)])
	}
	return key, arena, ""
}

// sound reports whether raw, which has no odd bytes, is sure to be a key: not too long, and each % has two
// digits that stand for ASCII. Where it is not sure, decode has to find out.
//
// It looks at eight bytes at a time, see scan, and goes the same way wherever the escapes are: with branches that
// depend on them, the processor would spend most of the time on having taken the wrong one.
func sound(raw []byte) bool {
	last := tail(raw, len(raw)&^7)
	var before uint64 // the escapes of the word before
	for at := 0; at < len(raw); at += 8 {
		word := last
		if end := at + 8; end <= len(raw) {
			word = binary.LittleEndian.Uint64(raw[at:end:end])
		}
		escapes := ^((word ^ '%'*each) + low7) & high
		first := escapes<<8 | before>>56 // where their first digits are
		second := escapes<<16 | before>>48
		before = escapes

		digit, letter := word^'0'*each, word|' '*each
		pastSeven := digit&(0x78*each) + low7 // set if the byte is not 0 to 7
		pastNine := digit + (0x80-10)*each    // set if it is not 0 to 9
		fromA := letter + (0x80-'a')*each     // set if it is a letter, a or behind
		pastF := letter + (0x80-'g')*each     // set if it is behind f
		if first&pastSeven|second&pastNine&(pastF|^fromA) != 0 {
			return false
		}
	}
	return before>>48 == 0 && len(raw) <= maxKey
}

// checkKey says what is wrong with a decoded key, "" if nothing.
func checkKey(key []byte) string {
	switch {
	case len(key) == 0:
		return "the key is empty"
	case len(key) > maxKey:
		return fmt.Sprintf("the key has %d bytes after decoding, at most %d are allowed", len(key), maxKey)
	}
	return ""
}

// isHex reports whether b is a hexadecimal digit.
func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'f'
}

// digit returns the value of the hexadecimal digit b.
func digit(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return (b | 0x20) - 'a' + 10
}

// checkVersion says what is wrong with a version id, "" if nothing. Stores differ in what their ids
// look like, so only what can be no id anywhere is refused.
func checkVersion(id []byte) string {
	if len(id) > maxVersion {
		return fmt.Sprintf("the version id has %d bytes, at most %d are allowed", len(id), maxVersion)
	}
	return ""
}

// size returns the number of a cell that tells the bytes of an object, -1 if it is none: an inventory leaves
// it empty for delete markers, and no task hangs on it.
func size(cell []byte) int64 {
	const digits = 18 // more do not fit in an int64
	if len(cell) == 0 || len(cell) > digits {
		return -1
	}
	n := int64(0)
	for _, b := range cell {
		if b < '0' || b > '9' {
			return -1
		}
		n = 10*n + int64(b-'0')
	}
	return n
}
