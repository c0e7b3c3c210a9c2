package gunzip

// The tables that turn bits into symbols. A code of up to root bits is looked up at once with the
// next root bits of the stream, a longer one leads from there to a second table, so that no symbol
// takes more than two looks. What a symbol needs for its work lies in the entry itself:
//
//	bits  0-4   bits to drop: the code's and, of a length or distance, the extra ones'
//	bits  8-9   literals: how many, 1 or 2
//	bits  8-11  lengths and distances: the code's bits alone; links: bits to look up in the second table
//	bits 12-15  what kind of entry it is
//	bits 16-31  one or two literals; base of the length or distance; where the second table starts
type entry = uint32

const (
	dropMask = 1<<5 - 1

	literal entry = 1 << 15 // one or two literals
	special entry = 1 << 14 // neither literal nor length nor distance, but:
	link    entry = 1 << 13 // the code goes on in a second table; special too
	last    entry = 1 << 12 // the end of the block; special too. Special alone: no such code.
)

const (
	maxBits  = 15 // of any code
	litRoot  = 11
	distRoot = 8
	preRoot  = 7

	endOfBlock = 256
	maxLits    = 286 // literals, end of block and lengths that a block may declare
	maxDists   = 30
	maxPres    = 19 // symbols of the code in which the others are written down

	// A second table serves at least two codes, and here has the size that the longest may need.
	litSize  = 1<<litRoot + (maxLits/2)<<(maxBits-litRoot)
	distSize = 1<<distRoot + (maxDists/2)<<(maxBits-distRoot)
)

// The entries of all symbols, still without the bits of their codes (RFC 1951, 3.2.5). Two literals
// or lengths and two distances can be written by the fixed codes only, and mean nothing.
var (
	litSymbols  = newLitSymbols()
	distSymbols = newDistSymbols()
	preSymbols  = newPreSymbols()
)

func newLitSymbols() (symbols [288]entry) {
	for i := range entry(endOfBlock) {
		symbols[i] = i<<16 | 1<<8 | literal
	}
	symbols[endOfBlock] = special | last
	base := entry(3)
	for i := range entry(28) {
		extra := max(i/4, 1) - 1
		symbols[endOfBlock+1+i] = base<<16 | extra
		base += 1 << extra
	}
	symbols[285] = 258 << 16 // though 284 can say so as well
	symbols[286], symbols[287] = special, special
	return symbols
}

func newDistSymbols() (symbols [32]entry) {
	base := entry(1)
	for i := range entry(maxDists) {
		extra := max(i/2, 1) - 1
		symbols[i] = base<<16 | extra
		base += 1 << extra
	}
	symbols[30], symbols[31] = special, special
	return symbols
}

func newPreSymbols() (symbols [maxPres]entry) {
	for i := range symbols {
		symbols[i] = entry(i) << 16
	}
	return symbols
}

// build makes the table of the canonical code with the given lengths, 0 for symbols not in use. It
// returns false if there is no such code: lengths that ask for more codes than there are, or that
// leave some without a meaning. As in zlib, a code of one symbol with one bit is good all the
// same, and one of no symbols at all too, if lone says so: what it leaves open is an error when met.
func build(table []entry, root int, lens []uint8, symbols []entry, lone bool) bool {
	var count [maxBits + 1]int
	for _, n := range lens {
		count[n&maxBits]++
	}
	longest, left := 0, 1
	for n := 1; n <= maxBits; n++ {
		if count[n] > 0 {
			longest = n
		}
		if left = left<<1 - count[n]; left < 0 {
			return false
		}
	}
	if left > 0 {
		if longest > 1 || !lone {
			return false
		}
		for i := range table[:1<<root] {
			table[i] = special | 1
		}
		for symbol, n := range lens {
			for i := 0; n == 1 && i < 1<<root; i += 2 {
				table[i] = withCode(symbols[symbol], 1)
			}
		}
		return true
	}

	// Symbols in the order of their codes: by length, then by value.
	var (
		next   [maxBits + 1]int
		sorted [len(litSymbols)]uint16
	)
	for n := 1; n < maxBits; n++ {
		next[n+1] = next[n] + count[n]
	}
	for symbol, n := range lens {
		if n != 0 {
			sorted[next[n&maxBits]] = uint16(symbol)
			next[n&maxBits]++
		}
	}

	// Codes come from the stream with their first bit lowest. A table for n bits, written twice one
	// behind the other, is the table for n+1 bits, as long as no code of that length is in it.
	code, at := 0, 0
	for n := 1; n <= root; n++ {
		copy(table[1<<(n-1):1<<n], table[:1<<(n-1)])
		for _, symbol := range sorted[at : at+count[n]] {
			table[code] = withCode(symbols[symbol], n)
			code = after(code, n)
		}
		at += count[n]
	}
	second := longest - root // bits that second tables look up
	prefix, start, end := -1, 0, 1<<root
	for n := root + 1; n <= longest; n++ {
		for _, symbol := range sorted[at : at+count[n]] {
			if p := code & (1<<root - 1); p != prefix {
				prefix, start, end = p, end, end+1<<second
				table[p] = entry(start)<<16 | special | link | entry(second)<<8 | entry(root)
			}
			e := withCode(symbols[symbol], n-root)
			for i := start + code>>root; i < end; i += 1 << (n - root) {
				table[i] = e
			}
			code = after(code, n)
		}
		at += count[n]
	}
	return true
}

// withCode completes the entry of a symbol whose code, as far as this table is concerned, has n bits.
func withCode(e entry, n int) entry {
	if e&literal == 0 {
		e += entry(n) << 8
	}
	return e + entry(n)
}

// after returns the code that follows another of n bits: that plus one, if bits are read backwards.
func after(code, n int) int {
	bit := 1 << (n - 1)
	for code&bit != 0 {
		code ^= bit
		bit >>= 1
	}
	return code | bit
}

// pair lets an entry of the first table stand for two literals wherever the bits looked up say both.
// Text that does not repeat itself, such as hex digits, is read almost twice as fast for it.
func pair(table *[litSize]entry) {
	// From the end, because an entry needs those below it as they were.
	for i := 1<<litRoot - 1; i >= 0; i-- {
		e := table[i]
		if e&literal == 0 {
			continue
		}
		second := table[i>>(e&dropMask)]
		if drop := e&dropMask + second&dropMask; second&literal != 0 && drop <= litRoot {
			table[i] = second&0xff0000<<8 | e&0xff0000 | literal | 2<<8 | drop
		}
	}
}
