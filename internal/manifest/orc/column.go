package orc

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"
)

// column reads the values of one column, a stripe at a time.
type column struct {
	field   field
	streams [4]stream // present, data, length or secondary, dictionary; their memory is kept
	present *bools    // which rows have a value; nil if all do
	values  values    // those that there are
}

// values are the values of a column in a stripe, in order. They return false at an error, and if there
// are no more.
type values interface {
	next() ([]byte, bool) // valid until the next call
	skip(n int64) bool
}

// next returns the next value, nil for null.
func (c *column) next() ([]byte, bool) {
	if c.present != nil {
		if there, ok := c.present.next(); !ok || !there {
			return nil, ok
		}
	}
	return c.values.next()
}

// skip passes over n rows.
func (c *column) skip(n int64) bool {
	if c.present != nil {
		var ok bool
		if n, ok = c.present.skip(n); !ok {
			return false
		}
	}
	return c.values.skip(n)
}

// err returns why a value could not be read.
func (c *column) err() error {
	for i := range c.streams {
		if err := c.streams[i].err; err != nil {
			return err
		}
	}
	return malformed("damaged: its values end too early or are not well encoded")
}

// stringValues are strings, whose lengths are apart.
type stringValues struct {
	lengths ints
	data    *stream
}

func (v *stringValues) next() ([]byte, bool) {
	n, ok := v.lengths.next()
	if !ok || n < 0 || n > maxCell {
		return nil, false
	}
	return v.data.take(int(n))
}

func (v *stringValues) skip(n int64) bool {
	for range n {
		length, ok := v.lengths.next()
		if !ok || length < 0 || !v.data.skip(length) {
			return false
		}
	}
	return true
}

// dictValues are references to strings of a dictionary.
type dictValues struct {
	indexes ints
	data    []byte
	ends    []uint32 // string i is data[ends[i]:ends[i+1]]
}

// readDictionary reads the strings.
func (v *dictValues) readDictionary(lengths *ints, data *stream, entries uint64) bool {
	if entries > maxEntries {
		return false
	}
	total := int64(0)
	v.ends = append(v.ends[:0], 0)
	for range entries {
		n, ok := lengths.next()
		if !ok || n < 0 || n > maxCell || total+n > maxDictionary {
			return false
		}
		total += n
		v.ends = append(v.ends, uint32(total))
	}
	v.data = []byte{} // an empty string is not null
	for int64(len(v.data)) < total {
		if len(data.data) == 0 && !data.more() {
			return false
		}
		part := data.data[:min(int64(len(data.data)), total-int64(len(v.data)))]
		v.data = append(v.data, part...)
		data.data = data.data[len(part):]
	}
	return true
}

func (v *dictValues) next() ([]byte, bool) {
	i, ok := v.indexes.next()
	if !ok || i < 0 || i >= int64(len(v.ends)-1) {
		return nil, false
	}
	from, to := v.ends[i], v.ends[i+1]
	return v.data[from:to:to], true
}

func (v *dictValues) skip(n int64) bool { return v.indexes.skip(n) }

// intValues are integers of any kind, and dates.
type intValues struct {
	ints ints
	text func(dst []byte, v int64) []byte
	cell []byte
}

func (v *intValues) next() ([]byte, bool) {
	n, ok := v.ints.next()
	v.cell = v.text(v.cell[:0], n)
	return v.cell, ok
}

func (v *intValues) skip(n int64) bool { return v.ints.skip(n) }

func appendInt(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) }

func appendDate(dst []byte, days int64) []byte {
	const day = 24 * 60 * 60
	return time.Unix(days*day, 0).UTC().AppendFormat(dst, time.DateOnly)
}

// byteValues are integers of a byte.
type byteValues struct {
	bytes bytesRLE
	cell  []byte
}

func (v *byteValues) next() ([]byte, bool) {
	b, ok := v.bytes.next()
	v.cell = appendInt(v.cell[:0], int64(int8(b)))
	return v.cell, ok
}

func (v *byteValues) skip(n int64) bool {
	for range n {
		if _, ok := v.bytes.next(); !ok {
			return false
		}
	}
	return true
}

// boolValues are booleans.
type boolValues struct {
	bools bools
	cell  []byte
}

func (v *boolValues) next() ([]byte, bool) {
	b, ok := v.bools.next()
	v.cell = strconv.AppendBool(v.cell[:0], b)
	return v.cell, ok
}

func (v *boolValues) skip(n int64) bool {
	_, ok := v.bools.skip(n)
	return ok
}

// floatValues are numbers of 4 or 8 bytes, not encoded.
type floatValues struct {
	data  *stream
	bytes int
	cell  []byte
}

func (v *floatValues) next() ([]byte, bool) {
	b, ok := v.data.take(v.bytes)
	switch {
	case !ok:
		return nil, false
	case v.bytes == 4:
		v.cell = strconv.AppendFloat(v.cell[:0], float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 'g', -1, 32)
	default:
		v.cell = strconv.AppendFloat(v.cell[:0], math.Float64frombits(binary.LittleEndian.Uint64(b)), 'g', -1, 64)
	}
	return v.cell, true
}

func (v *floatValues) skip(n int64) bool {
	return n <= math.MaxInt64/8 && v.data.skip(n*int64(v.bytes))
}

// timeValues are timestamps: seconds since 2015 began where the writer was, and nanoseconds.
type timeValues struct {
	seconds, nanos ints
	zone           *time.Location
	base           int64
	cell           []byte
}

// newTimeValues returns the timestamps of a writer in zone.
func newTimeValues(zone *time.Location) *timeValues {
	return &timeValues{zone: zone, base: time.Date(2015, 1, 1, 0, 0, 0, 0, zone).Unix()}
}

func (v *timeValues) next() ([]byte, bool) {
	seconds, ok1 := v.seconds.next()
	nanos, ok2 := v.nanos.next()
	if !ok1 || !ok2 {
		return nil, false
	}
	seconds += v.base
	// The lowest three bits say how many zeros have been taken off, less one.
	zeros := nanos & 7
	if nanos = nanos >> 3; zeros > 0 {
		for range zeros + 1 {
			nanos *= 10
		}
	}
	// Writers round seconds towards zero, but count milliseconds upwards.
	if seconds < 0 && nanos > 999_999 {
		seconds--
	}
	// A timestamp is a wall clock without a zone: its digits are those the writer saw.
	v.cell = time.Unix(seconds, nanos).In(v.zone).AppendFormat(v.cell[:0], "2006-01-02T15:04:05.000Z")
	return v.cell, true
}

func (v *timeValues) skip(n int64) bool { return v.seconds.skip(n) && v.nanos.skip(n) }
