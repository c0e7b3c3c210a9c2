package objectstore

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// scan reads the document of a listing as it stands. Elements may come in any order, under any namespace, among others.
func (p *ListPage) scan(doc []byte) error {
	s := xmlScanner{doc: doc}
	if root, ok := s.child(); ok && (!bytes.HasPrefix(root, []byte("List")) || !bytes.HasSuffix(root, []byte("Result"))) {
		return fmt.Errorf("read listing: its document is %q", clip(string(root)))
	}
	for {
		name, ok := s.child()
		if !ok {
			break
		}
		switch string(name) {
		case "Contents", "Version":
			p.entry(&s, false)
		case "DeleteMarker":
			p.entry(&s, true)
		case "CommonPrefixes":
			p.folded(&s)
		case "IsTruncated":
			p.Truncated, p.truncated = isTrue(s.value()), true
		case "NextContinuationToken":
			p.NextToken = string(s.value())
		case "NextKeyMarker":
			p.markerKey = s.value()
		case "NextVersionIdMarker":
			p.markerVersion = s.value()
		case "EncodingType":
			p.urlEncoded = string(bytes.TrimSpace(s.value())) == "url"
		default:
			s.skip()
		}
	}
	if s.err != nil {
		return fmt.Errorf("read listing: %w", s.err)
	}
	return nil
}

// entry reads the row whose element was just opened.
func (p *ListPage) entry(s *xmlScanner, marker bool) {
	p.Entries = append(p.Entries, ListEntry{DeleteMarker: marker})
	e := &p.Entries[len(p.Entries)-1]
	for {
		name, ok := s.child()
		if !ok {
			break
		}
		switch string(name) {
		case "Key":
			e.Key = s.value()
		case "VersionId":
			e.VersionID = s.value()
		case "ETag":
			e.ETag = unquoted(s.value())
		case "StorageClass":
			e.StorageClass = bytes.TrimSpace(s.value())
		case "IsLatest":
			e.IsLatest = isTrue(s.value())
		case "Size":
			e.Size, ok = parseSize(s.value())
			if !ok {
				s.fail(errors.New("a size is no number"))
			}
		case "LastModified":
			e.LastModified, ok = parseDate(s.value())
			if !ok {
				s.fail(errors.New("a date cannot be read"))
			}
		default:
			s.skip()
		}
	}
	if len(e.Key) == 0 {
		s.fail(errors.New("a row has no key"))
	}
}

// folded reads the CommonPrefixes just opened. Some stores put more than one Prefix into it.
func (p *ListPage) folded(s *xmlScanner) {
	for {
		name, ok := s.child()
		switch {
		case !ok:
			return
		case string(name) == "Prefix":
			p.Prefixes = append(p.Prefixes, s.value())
		default:
			s.skip()
		}
	}
}

func isTrue(text []byte) bool { return string(bytes.TrimSpace(text)) == "true" }

// unquoted is an ETag without its quotes.
func unquoted(etag []byte) []byte {
	etag = bytes.TrimPrefix(bytes.TrimSpace(etag), []byte("W/"))
	return bytes.Trim(etag, `"`)
}

func parseSize(text []byte) (int64, bool) {
	text = bytes.TrimSpace(text)
	var n int64
	for _, c := range text {
		if c < '0' || c > '9' || n > (1<<63-1-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(text) > 0
}

// parseDate reads a time as S3 writes it, 2026-07-01T12:00:00.000Z. Other writings of a time take longer.
func parseDate(text []byte) (time.Time, bool) {
	text = bytes.TrimSpace(text)
	if t, ok := parsePlainDate(text); ok {
		return t, true
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		t, err = http.ParseTime(string(text))
	}
	return t.UTC(), err == nil
}

// parsePlainDate reads 2026-07-01T12:00:00Z, with a fraction or without.
func parsePlainDate(text []byte) (time.Time, bool) {
	const layout = "2006-01-02T15:04:05"
	if len(text) <= len(layout) || len(text) > len(layout)+11 || text[len(text)-1] != 'Z' ||
		text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' {
		return time.Time{}, false
	}
	ok := true
	number := func(digits []byte) (n int) {
		for _, c := range digits {
			ok = ok && c >= '0' && c <= '9'
			n = n*10 + int(c-'0')
		}
		return n
	}
	year, month, day := number(text[:4]), number(text[5:7]), number(text[8:10])
	hour, minute, second := number(text[11:13]), number(text[14:16]), number(text[17:19])
	nanos := 0
	if fraction := text[len(layout) : len(text)-1]; len(fraction) > 0 {
		ok = ok && fraction[0] == '.' && len(fraction) > 1
		nanos = number(fraction[1:])
		for range 10 - len(fraction) {
			nanos *= 10
		}
	}
	if !ok || month < 1 || month > 12 || day < 1 || day > 28 && day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return time.Unix(unixDay(year, month, day)*86400+int64(hour*3600+minute*60+second), int64(nanos)).UTC(), true
}

// daysIn is how many days a month has.
func daysIn(year, month int) int {
	return time.Date(year, time.Month(month+1), 0, 0, 0, 0, 0, time.UTC).Day()
}

// unixDay counts the days since 1970-01-01, by years that begin in March and eras of 400 years, so that the leap day
// comes last in both.
func unixDay(year, month, day int) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	const days1970 = 719468                          // from 0000-03-01
	days := 365*year + year/4 - year/100 + year/400  // before this year
	days += (153*(month-3)+2)/5 + day - 1 - days1970 // in it
	return int64(days)
}

// unescapeURL decodes text in place: %XX, and + for a space as S3 has it.
func unescapeURL(text []byte) ([]byte, error) {
	at := bytes.IndexByte(text, '%')
	if plus := bytes.IndexByte(text, '+'); plus >= 0 && (at < 0 || plus < at) {
		at = plus
	}
	if at < 0 {
		return text, nil
	}
	out := text[:at]
	for i := at; i < len(text); i++ {
		c := text[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(text) || digit(text[i+1]) > 15 || digit(text[i+2]) > 15 {
				return nil, errors.New("read listing: a key is not URL-encoded")
			}
			c = digit(text[i+1])<<4 | digit(text[i+2])
			i += 2
		}
		out = append(out, c)
	}
	return out, nil
}
