package parquet

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"
)

// textFunc appends the text of a value to dst. raw has the bytes that a value of the type takes.
type textFunc func(dst, raw []byte) []byte

// logical is the part of a LogicalType that matters here.
type logical struct {
	id       int16 // the number of the member of the union, 0 if there is none
	unit     int16 // of a timestamp: 1 ms, 2 µs, 3 ns
	unsigned bool  // integer
}

// Members of the union LogicalType.
const (
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTime      = 7
	logicalTimestamp = 8
	logicalInteger   = 10
	logicalUUID      = 14
	logicalFloat16   = 15
)

// Values of the enumeration ConvertedType, which was there before LogicalType.
const (
	convertedDecimal         = 5
	convertedDate            = 6
	convertedTimeMillis      = 7
	convertedTimeMicros      = 8
	convertedTimestampMillis = 9
	convertedTimestampMicros = 10
	convertedUint8           = 11
	convertedUint64          = 14
	convertedInterval        = 21
)

// readLogical reads a LogicalType.
func readLogical(t *thrift) (l logical) {
	for member, typ := range t.fields() {
		l.id = member
		if typ != thriftStruct {
			t.fail()
			return l
		}
		for id, typ := range t.fields() {
			switch {
			case member == logicalTimestamp && id == 2 && t.is(typ):
				for unit, typ := range t.fields() {
					l.unit = unit
					t.skip(typ)
				}
			case member == logicalInteger && id == 2:
				l.unsigned = !t.bool(typ)
			default:
				t.skip(typ)
			}
		}
	}
	return l
}

// textFunc returns how the values of a column become text, or why they do not.
func (e *element) textFunc() (text textFunc, unread string) {
	const other = "has a type that is not read: "
	switch e.logical.id {
	case logicalDecimal:
		return nil, other + "decimal"
	case logicalTime:
		return nil, other + "time"
	case logicalUUID, logicalFloat16:
		return nil, other + "UUID or float16"
	}
	switch e.converted {
	case convertedDecimal:
		return nil, other + "decimal"
	case convertedTimeMillis, convertedTimeMicros:
		return nil, other + "time"
	case convertedInterval:
		return nil, other + "interval"
	}
	unsigned := e.logical.unsigned || e.converted >= convertedUint8 && e.converted <= convertedUint64
	switch e.kind {
	case boolean, byteArray, fixed:
		return nil, ""
	case int32s:
		switch {
		case e.logical.id == logicalDate || e.converted == convertedDate:
			return appendDate, ""
		case unsigned:
			return appendUint32, ""
		}
		return appendInt32, ""
	case int64s:
		switch {
		case e.logical.unit == 1 || e.converted == convertedTimestampMillis:
			return appendMillis, ""
		case e.logical.unit == 2 || e.converted == convertedTimestampMicros:
			return appendMicros, ""
		case e.logical.unit == 3:
			return appendNanos, ""
		case unsigned:
			return appendUint64, ""
		}
		return appendInt64, ""
	case int96s:
		return appendInt96, ""
	case float32s:
		return appendFloat32, ""
	case float64s:
		return appendFloat64, ""
	}
	return nil, other + strconv.FormatInt(int64(e.kind), 10)
}

// width returns the number of bytes of a value of a field whose values are all of one length.
func (f *field) width() int {
	switch f.kind {
	case int32s, float32s:
		return 4
	case int96s:
		return 12
	case fixed:
		return f.size
	default:
		return 8
	}
}

func appendInt32(dst, raw []byte) []byte {
	return strconv.AppendInt(dst, int64(int32(binary.LittleEndian.Uint32(raw))), 10)
}

func appendUint32(dst, raw []byte) []byte {
	return strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint32(raw)), 10)
}

func appendInt64(dst, raw []byte) []byte {
	return strconv.AppendInt(dst, int64(binary.LittleEndian.Uint64(raw)), 10)
}

func appendUint64(dst, raw []byte) []byte {
	return strconv.AppendUint(dst, binary.LittleEndian.Uint64(raw), 10)
}

func appendFloat32(dst, raw []byte) []byte {
	return strconv.AppendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))), 'g', -1, 32)
}

func appendFloat64(dst, raw []byte) []byte {
	return strconv.AppendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(raw)), 'g', -1, 64)
}

func appendDate(dst, raw []byte) []byte {
	const day = 24 * 60 * 60
	days := int64(int32(binary.LittleEndian.Uint32(raw)))
	return time.Unix(days*day, 0).UTC().AppendFormat(dst, time.DateOnly)
}

func appendMillis(dst, raw []byte) []byte {
	return appendTime(dst, time.UnixMilli(int64(binary.LittleEndian.Uint64(raw))))
}

func appendMicros(dst, raw []byte) []byte {
	return appendTime(dst, time.UnixMicro(int64(binary.LittleEndian.Uint64(raw))))
}

func appendNanos(dst, raw []byte) []byte {
	return appendTime(dst, time.Unix(0, int64(binary.LittleEndian.Uint64(raw))))
}

// appendInt96 appends a timestamp of the old form: nanoseconds of the day and the Julian day.
func appendInt96(dst, raw []byte) []byte {
	const day, epoch = 24 * 60 * 60, 2440588 // the Julian day of 1 January 1970
	nanos := int64(binary.LittleEndian.Uint64(raw))
	days := int64(int32(binary.LittleEndian.Uint32(raw[8:]))) - epoch
	return appendTime(dst, time.Unix(days*day, nanos))
}

func appendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
}
