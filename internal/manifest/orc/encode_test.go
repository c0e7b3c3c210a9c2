package orc_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// The numbers of the format, from its specification.
const (
	none, zlib, snap, lzo, lz4, zst = 0, 1, 2, 3, 4, 5

	typeBoolean, typeByte, typeShort, typeInt, typeLong, typeFloat, typeDouble, typeString, typeBinary, typeTimestamp = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
	typeList, typeStruct, typeDate, typeVarchar, typeChar, typeInstant                                                = 10, 12, 15, 16, 17, 18
)

// A table is what encode makes a file of.
type table struct {
	columns     []series
	rows        int
	absent      func(row int) bool // whole rows that are null; nil if none
	perStripe   int                // rows
	compression uint64
	chunk       int
	version2    bool // of the run-length encoding
	zone        *time.Location
	tail        []byte // more fields of the footer
}

// A series is a column. Its values are nil, string, int64, bool, float64 or time.Time.
type series struct {
	name       string
	kind       uint64
	dictionary bool
	value      func(row int) any
}

// encode writes the file.
func (tb *table) encode(t testing.TB) []byte {
	t.Helper()
	file := []byte("ORC")
	var footer message
	footer.uint(1, 3)
	root := message{}
	root.uint(1, typeStruct)
	var ids []byte
	for i, s := range tb.columns {
		ids = binary.AppendUvarint(ids, uint64(i+1))
		root.bytes(3, []byte(s.name))
	}
	root.bytes(2, ids)
	for from := 0; from < tb.rows; from += tb.perStripe {
		rows := min(tb.perStripe, tb.rows-from)
		index, data, foot := tb.stripe(t, from, rows)
		var info message
		info.uint(1, uint64(len(file)))
		info.uint(2, uint64(len(index)))
		info.uint(3, uint64(len(data)))
		info.uint(4, uint64(len(foot)))
		info.uint(5, uint64(rows))
		footer.bytes(3, info.b)
		file = slices.Concat(file, index, data, foot)
	}
	footer.bytes(4, root.b)
	for _, s := range tb.columns {
		var m message
		m.uint(1, s.kind)
		footer.bytes(4, m.b)
	}
	footer.uint(6, uint64(tb.rows))
	footer.uint(8, 10000)
	footer.b = append(footer.b, tb.tail...)
	packed := tb.pack(t, footer.b)
	file = append(file, packed...)
	var ps message
	ps.uint(1, uint64(len(packed)))
	ps.uint(2, tb.compression)
	ps.uint(3, uint64(tb.chunk))
	ps.bytes(4, []byte{0, 12})
	ps.bytes(8000, []byte("ORC"))
	return append(append(file, ps.b...), byte(len(ps.b)))
}

// stripe writes the parts of a stripe. In the index there is what nobody is to read.
func (tb *table) stripe(t testing.TB, from, rows int) (index, data, footer []byte) {
	t.Helper()
	var foot message
	add := func(column, kind uint64, to *[]byte, b []byte) {
		var m message
		m.uint(1, kind)
		m.uint(2, column)
		m.uint(3, uint64(len(b)))
		foot.bytes(1, m.b)
		*to = append(*to, b...)
	}
	for i := range tb.columns {
		add(uint64(i+1), 6, &index, []byte("an index"))
	}
	var there []int // rows that are not null as a whole
	whole := make([]bool, rows)
	for i := range rows {
		if whole[i] = tb.absent == nil || !tb.absent(from+i); whole[i] {
			there = append(there, from+i)
		}
	}
	if len(there) < rows {
		add(0, 0, &data, tb.pack(t, encodeBools(whole)))
	}
	var encodings [][]byte
	direct := uint64(0)
	if tb.version2 {
		direct = 2
	}
	encodings = append(encodings, (&message{}).uint(1, 0).b)
	for i, s := range tb.columns {
		var present []bool
		var values []any
		for _, row := range there {
			v := s.value(row)
			if present = append(present, v != nil); v != nil {
				values = append(values, v)
			}
		}
		if len(values) < len(there) {
			add(uint64(i+1), 0, &data, tb.pack(t, encodeBools(present)))
		}
		streams, entries := tb.values(s, values)
		for _, kind := range []uint64{1, 2, 3, 5} {
			if b := streams[kind]; len(b) > 0 {
				add(uint64(i+1), kind, &data, tb.pack(t, b))
			}
		}
		e := (&message{}).uint(1, direct)
		if s.dictionary {
			e = (&message{}).uint(1, direct+1)
			e.uint(2, uint64(entries))
		}
		encodings = append(encodings, e.b)
	}
	for _, e := range encodings {
		foot.bytes(2, e)
	}
	if tb.zone != nil {
		foot.bytes(3, []byte(tb.zone.String()))
	}
	return index, data, tb.pack(t, foot.b)
}

// values writes the streams of a column by their kinds.
func (tb *table) values(s series, values []any) (streams map[uint64][]byte, entries int) {
	streams = map[uint64][]byte{}
	var numbers, more []int64
	signed := true
	zone := tb.zone
	if zone == nil || s.kind == typeInstant {
		zone = time.UTC
	}
	base := time.Date(2015, 1, 1, 0, 0, 0, 0, zone)
	words := map[string]int64{}
	if s.dictionary {
		var sorted []string
		for _, v := range values {
			sorted = append(sorted, v.(string))
		}
		slices.Sort(sorted)
		for i, word := range slices.Compact(sorted) {
			words[word] = int64(i)
			more = append(more, int64(len(word)))
			streams[3] = append(streams[3], word...)
		}
	}
	switch s.kind {
	case typeBoolean:
		var b []bool
		for _, v := range values {
			b = append(b, v.(bool))
		}
		streams[1] = encodeBools(b)
		return streams, 0
	case typeByte:
		var b []byte
		for _, v := range values {
			b = append(b, byte(v.(int64)))
		}
		streams[1] = encodeBytes(b)
		return streams, 0
	case typeDouble:
		for _, v := range values {
			streams[1], _ = binary.Append(streams[1], binary.LittleEndian, v.(float64))
		}
		return streams, 0
	case typeFloat:
		for _, v := range values {
			streams[1], _ = binary.Append(streams[1], binary.LittleEndian, float32(v.(float64)))
		}
		return streams, 0
	}
	for _, v := range values {
		switch v := v.(type) {
		case int64:
			numbers = append(numbers, v)
		case string:
			if s.dictionary {
				numbers = append(numbers, words[v])
				continue
			}
			streams[1] = append(streams[1], v...)
			more = append(more, int64(len(v)))
		case time.Time:
			seconds := v.Unix() - base.Unix()
			if v.Unix() < 0 && v.Nanosecond() > 999_999 {
				seconds++
			}
			numbers = append(numbers, seconds)
			nanos, zeros := int64(v.Nanosecond()), int64(0)
			for nanos != 0 && nanos%10 == 0 && zeros < 8 {
				nanos, zeros = nanos/10, zeros+1
			}
			if zeros == 1 {
				nanos, zeros = nanos*10, 0
			}
			more = append(more, nanos<<3|max(zeros-1, 0))
		}
	}
	if s.dictionary {
		signed = false
	}
	if len(numbers) > 0 {
		streams[1] = tb.ints(numbers, signed)
	}
	if s.kind == typeTimestamp || s.kind == typeInstant {
		streams[5] = tb.ints(more, false)
	} else if len(more) > 0 {
		streams[2] = tb.ints(more, false)
	}
	return streams, len(words)
}

// pack compresses b in chunks, each of which stays as it is if that is shorter.
func (tb *table) pack(t testing.TB, b []byte) (out []byte) {
	t.Helper()
	if tb.compression == none {
		return b
	}
	for part := range slices.Chunk(b, tb.chunk) {
		packed, original := pack(t, tb.compression, part), 0
		if len(packed) >= len(part) {
			packed, original = part, 1
		}
		head := len(packed)<<1 | original
		out = append(out, byte(head), byte(head>>8), byte(head>>16))
		out = append(out, packed...)
	}
	return out
}

func pack(t testing.TB, compression uint64, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var err error
	switch compression {
	case zlib:
		w, _ := flate.NewWriter(&out, flate.BestCompression)
		_, err = w.Write(b)
		if err == nil {
			err = w.Close()
		}
	case snap:
		return snappy.Encode(nil, b)
	case lz4:
		packed, err := parquet.Lz4Raw.Encode(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		return packed
	case zst:
		w, _ := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		_, err = w.Write(b)
		if err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// message is a message of protocol buffers.
type message struct{ b []byte }

func (m *message) uint(id, v uint64) *message {
	m.b = binary.AppendUvarint(binary.AppendUvarint(m.b, id<<3), v)
	return m
}

func (m *message) bytes(id uint64, b []byte) *message {
	m.b = binary.AppendUvarint(binary.AppendUvarint(m.b, id<<3|2), uint64(len(b)))
	m.b = append(m.b, b...)
	return m
}

func encodeBools(values []bool) []byte {
	b := make([]byte, (len(values)+7)/8)
	for i, v := range values {
		if v {
			b[i/8] |= 0x80 >> (i % 8)
		}
	}
	return encodeBytes(b)
}

// run returns how many of the values at the start are one number, at most limit.
func run[T comparable](values []T, limit int) int {
	n := 1
	for n < min(limit, len(values)) && values[n] == values[0] {
		n++
	}
	return n
}

func encodeBytes(b []byte) (out []byte) {
	for len(b) > 0 {
		if n := run(b, 130); n >= 3 {
			out = append(out, byte(n-3), b[0])
			b = b[n:]
			continue
		}
		n := 0
		for n < min(128, len(b)) && run(b[n:], 3) < 3 {
			n++
		}
		out = append(append(out, byte(-n)), b[:n]...)
		b = b[n:]
	}
	return out
}

// ints encodes integers, in runs of every kind that can hold them.
func (tb *table) ints(values []int64, signed bool) (out []byte) {
	for turn := 0; len(values) > 0; turn++ {
		var n int
		if tb.version2 {
			out, n = encodeV2(out, values, signed, turn)
		} else {
			out, n = encodeV1(out, values, signed)
		}
		values = values[n:]
	}
	return out
}

func appendNumber(out []byte, v int64, signed bool) []byte {
	if signed {
		return binary.AppendVarint(out, v)
	}
	return binary.AppendUvarint(out, uint64(v))
}

func encodeV1(out []byte, values []int64, signed bool) ([]byte, int) {
	n := steady(values, 130)
	if step := values[min(1, n-1)] - values[0]; n >= 3 && step == int64(int8(step)) {
		return appendNumber(append(out, byte(n-3), byte(step)), values[0], signed), n
	}
	n = min(len(values), 7)
	out = append(out, byte(-n))
	for _, v := range values[:n] {
		out = appendNumber(out, v, signed)
	}
	return out, n
}

// steady returns how many of the values at the start are a fixed step apart.
func steady(values []int64, limit int) int {
	n := min(2, len(values))
	for n < min(limit, len(values)) && values[n]-values[n-1] == values[1]-values[0] {
		n++
	}
	return n
}

// sorted returns how many of the values at the start never fall, or never rise.
func sorted(values []int64, limit int) int {
	n := min(2, len(values))
	for n < min(limit, len(values)) && (values[n] == values[n-1] || (values[n] > values[n-1]) == (values[1] > values[0])) {
		n++
	}
	return n
}

func encodeV2(out []byte, values []int64, signed bool, turn int) ([]byte, int) {
	if n := run(values, 10); n >= 3 {
		v := values[0]
		u := uint64(v)
		if signed {
			u = uint64(v<<1 ^ v>>63)
		}
		size := max(1, (bits.Len64(u)+7)/8)
		out = append(out, byte(size-1)<<3|byte(n-3))
		return append(out, binary.BigEndian.AppendUint64(nil, u)[8-size:]...), n
	}
	if n := steady(values, 512); n >= 4 {
		out = append(out, 0xc0|byte((n-1)>>8), byte(n-1))
		return binary.AppendVarint(appendNumber(out, values[0], signed), values[1]-values[0]), n
	}
	if n := sorted(values, 300); n >= 5 && values[1] != values[0] {
		var steps []uint64
		for i := 2; i < n; i++ {
			steps = append(steps, uint64(max(values[i]-values[i-1], values[i-1]-values[i])))
		}
		code, width := widthOf(max(2, bits.Len64(slices.Max(steps))))
		out = append(out, 0xc0|code<<1|byte((n-1)>>8), byte(n-1))
		out = binary.AppendVarint(appendNumber(out, values[0], signed), values[1]-values[0])
		return appendBits(out, steps, width), n
	}
	n := min(len(values), 20+37*(turn%10))
	if patched := encodePatched(out, values[:n]); patched != nil {
		return patched, n
	}
	var all []uint64
	for _, v := range values[:n] {
		if signed {
			v = v<<1 ^ v>>63
		}
		all = append(all, uint64(v))
	}
	code, width := widthOf(bits.Len64(slices.Max(all)))
	out = append(out, 0x40|code<<1|byte((n-1)>>8), byte(n-1))
	return appendBits(out, all, width), n
}

// encodePatched returns nil unless a few numbers are much larger than the others.
func encodePatched(out []byte, values []int64) []byte {
	base := slices.Min(values)
	size := max(1, (bits.Len64(uint64(max(base, -base)))+8)/8)
	if size > 8 || slices.Max(values) > 1<<50 || base < -1<<50 {
		return nil
	}
	var above []uint64
	for _, v := range values {
		above = append(above, uint64(v-base))
	}
	byWidth := slices.Clone(above)
	slices.Sort(byWidth)
	code, width := widthOf(bits.Len64(byWidth[len(byWidth)*9/10]))
	high := byWidth[len(byWidth)-1] >> width
	if high == 0 {
		return nil
	}
	patchCode, patchWidth := widthOf(bits.Len64(high))
	gapWidth := min(8, 64-patchWidth)
	if gapWidth < 8 {
		return nil
	}
	var patches []uint64
	last := 0
	for i, v := range above {
		if v>>width == 0 {
			continue
		}
		gap := i - last
		for gap > 255 {
			patches = append(patches, 255<<patchWidth)
			gap -= 255
		}
		patches = append(patches, uint64(gap)<<patchWidth|v>>width)
		above[i] &= 1<<width - 1
		last = i
	}
	if len(patches) > 31 {
		return nil
	}
	n := len(values)
	out = append(out, 0x80|code<<1|byte((n-1)>>8), byte(n-1), byte(size-1)<<5|patchCode, 7<<5|byte(len(patches)))
	magnitude := uint64(base)
	if base < 0 {
		magnitude = uint64(-base) | 1<<(8*size-1)
	}
	out = append(out, binary.BigEndian.AppendUint64(nil, magnitude)[8-size:]...)
	out = appendBits(out, above, width)
	_, together := widthOf(patchWidth + gapWidth)
	return appendBits(out, patches, together)
}

// widthOf returns the smallest width that is n at least, and its code.
func widthOf(n int) (code byte, width int) {
	switch {
	case n <= 24:
		width = max(n, 1)
		return byte(width - 1), width
	case n <= 32:
		width = n + n%2
		return byte(24 + (width-26)/2), width
	}
	width = (n + 7) / 8 * 8
	return byte(28 + (width-40)/8), width
}

// appendBits appends numbers of width bits, the highest bit first.
func appendBits(out []byte, values []uint64, width int) []byte {
	var b byte
	n := 0
	for _, v := range values {
		for i := width - 1; i >= 0; i-- {
			b = b<<1 | byte(v>>i&1)
			if n++; n == 8 {
				out, b, n = append(out, b), 0, 0
			}
		}
	}
	if n > 0 {
		out = append(out, b<<(8-n))
	}
	return out
}
