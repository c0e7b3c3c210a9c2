package generate

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// depths is how far into a key letters are looked at.
const depths = 160

// letters knows which bytes keys have at which place, so that a range is split where keys may be rather than where no byte of
// any key ever is. It only says where to split; nothing is lost if it is wrong.
type letters struct{ at [depths]alphabet }

// An alphabet is the bytes that a place in a key may have.
type alphabet struct {
	met     [4]uint64 // a bit for each byte that was met
	members []byte    // those and the ones that are likely to come, in order
}

// learn looks at a key that there is.
func (l *letters) learn(key []byte) {
	for i, c := range key[:min(len(key), depths)] {
		a := &l.at[i]
		if a.met[c>>6]&(1<<(c&63)) == 0 {
			a.met[c>>6] |= 1 << (c & 63)
			a.grow()
		}
	}
}

// grow makes the members anew: what was met, with a digit all digits, and with two letters all of their kind.
func (a *alphabet) grow() {
	met := func(from, to byte) (n int) {
		for c := from; c <= to; c++ {
			n += int(a.met[c>>6] >> (c & 63) & 1)
		}
		return n
	}
	digits := met('0', '9')
	all := func(c byte) bool {
		switch {
		case '0' <= c && c <= '9':
			return digits > 0
		case 'a' <= c && c <= 'f':
			return met('a', 'z') > 1 || digits > 0 && met('a', 'f') > 0 // hexadecimal
		case 'g' <= c && c <= 'z':
			return met('a', 'z') > 1 && (digits == 0 || met('g', 'z') > 0)
		case 'A' <= c && c <= 'F':
			return met('A', 'Z') > 1 || digits > 0 && met('A', 'F') > 0
		case 'G' <= c && c <= 'Z':
			return met('A', 'Z') > 1 && (digits == 0 || met('G', 'Z') > 0)
		}
		return false
	}
	a.members = a.members[:0]
	for i := range 256 {
		if c := byte(i); a.met[c>>6]&(1<<(c&63)) != 0 || all(c) {
			a.members = append(a.members, c)
		}
	}
}

// rank is the place of c among the members. member is false if it lies before the one of that place, or behind all.
func (a *alphabet) rank(c byte) (place uint64, member bool) {
	for i, m := range a.members {
		if m >= c {
			return uint64(i), m == c
		}
	}
	return uint64(len(a.members)), false
}

// numbers reads keys that agree up to depth from there on, as numbers whose digits are the ranks of their bytes. It takes as
// many places as have room, and says how many.
func (l *letters) numbers(depth int, keys ...[]byte) (values []uint64, places int) {
	const room = 1 << 52 // a float64 holds it exactly
	values = make([]uint64, len(keys))
	ended := make([]bool, len(keys)) // whatever comes after that is no digit
	size := uint64(1)
	for i := depth; i < depths && len(l.at[i].members) > 0; i++ {
		a := &l.at[i]
		base := uint64(len(a.members))
		if size *= base; size > room {
			break
		}
		places++
		for k, key := range keys {
			values[k] *= base
			if ended[k] || i >= len(key) {
				ended[k] = true
				continue
			}
			place, member := a.rank(key[i])
			values[k] += place
			ended[k] = !member
		}
	}
	return values, places
}

// agree is how many bytes a and b begin with in common.
func agree(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// middle returns a key about half-way between two keys that begin with a prefix, nil if it knows none. It is greater than
// the one and less than the other. Without an upper key it is the next sibling of the lower one right below the prefix.
func (l *letters) middle(prefix string, lower, upper []byte) []byte {
	if upper == nil {
		return valid(sibling(lower, len(prefix)), prefix, lower, nil)
	}
	return valid(l.between(lower, upper), prefix, lower, upper)
}

// near returns a key between two others, as middle does, for an upper key that seems to be far behind all keys that there are:
// it is half-way by the number of bytes that it has in common with the lower one. before is a key shortly before that.
func (l *letters) near(prefix string, before, lower, upper []byte) []byte {
	common := agree(lower, upper)
	if n := (common + agree(before, lower) + 1) / 2; n > common {
		if m := valid(sibling(lower, n), prefix, lower, upper); m != nil {
			return m
		}
	}
	return l.middle(prefix, lower, upper)
}

// valid returns m, or nil if it does not lie between the others or not under the prefix. A nil upper key bounds nothing.
func valid(m []byte, prefix string, lower, upper []byte) []byte {
	for len(m) > 0 && !utf8.Valid(m) { // a store may refuse what is no text
		m = m[:len(m)-1]
	}
	if bytes.Compare(m, lower) <= 0 || upper != nil && bytes.Compare(m, upper) >= 0 || !bytes.HasPrefix(m, []byte(prefix)) {
		return nil
	}
	return m
}

// sibling is the least text behind every key that has the same character as key after n bytes, nil if that is not simple.
func sibling(key []byte, n int) []byte {
	if n >= len(key) {
		return nil
	}
	r, size := utf8.DecodeRune(key[n:])
	if r == utf8.RuneError && size <= 1 || r == '~' || r == utf8.MaxRune || !utf8.ValidRune(r+1) {
		return nil
	}
	return utf8.AppendRune(clone(key[:n]), r+1)
}

func (l *letters) between(lower, upper []byte) []byte {
	depth := agree(lower, upper)
	v, places := l.numbers(depth, lower, upper)
	middle := v[0] + (v[1]-v[0])/2
	if v[1] < v[0]+2 {
		return nil
	}
	m := append(clone(lower[:depth]), make([]byte, places)...)
	for i := depth + places - 1; i >= depth; i-- {
		members := l.at[i].members
		base := uint64(len(members))
		m[i] = members[middle%base]
		middle /= base
	}
	// What ends in lowest digits is as good without them, and easier to read in a log of requests.
	for end := len(m); end > depth; end-- {
		if m[end-1] != l.at[end-1].members[0] || bytes.Compare(m[:end-1], lower) <= 0 {
			return m[:end]
		}
	}
	return m
}

// left guesses how many rows a range still has, from how far the last page got in it.
func (l *letters) left(first, last, until []byte, rows int) float64 {
	if until == nil {
		return math.Inf(1)
	}
	v, _ := l.numbers(agree(first, until), first, last, until)
	if v[1] <= v[0] {
		return math.Inf(1) // all of a page is one step of the ruler: there may be a lot
	}
	if v[2] <= v[1] {
		return 0
	}
	return float64(rows) * float64(v[2]-v[1]) / float64(v[1]-v[0])
}
