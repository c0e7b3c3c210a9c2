package objectstoretest

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/xml"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A Row is an object, or a version of one, that is there only to be listed and looked at with HEAD: a million of them
// take 120 MB with their keys.
type Row struct {
	Key, VersionID, ETag, StorageClass string // VersionID "": the bucket has no versioning; StorageClass "": STANDARD
	Size                               int64
	Modified                           time.Time
	DeleteMarker                       bool
	// Header is what HEAD answers besides: encryption, replication. Rows may share one. With
	// X-Amz-Server-Side-Encryption-Customer-Algorithm in it, HEAD is refused, as S3 refuses who does not have the key.
	Header http.Header
}

// Fill gives a bucket rows, besides the objects in it, which have other keys. Versions of one key come newest first.
func (s *Server) Fill(bucket string, rows []Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byKey := func(a, b Row) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(rows, byKey) {
		rows = slices.Clone(rows)
		slices.SortStableFunc(rows, byKey)
	}
	s.bucketLocked(bucket).rows = rows
}

// row finds one of Fill, the newest version for "".
func (b *bucket) row(key, versionID string) *Row {
	i, _ := slices.BinarySearchFunc(b.rows, key, func(r Row, key string) int { return strings.Compare(r.Key, key) })
	for ; i < len(b.rows) && b.rows[i].Key == key; i++ {
		if versionID == "" || versionID == cmp.Or(b.rows[i].VersionID, "null") {
			return &b.rows[i]
		}
	}
	return nil
}

// head answers HEAD; of the content there is nothing to be had.
func (row *Row) head(r *Request) *answer {
	switch {
	case r.Op != "HeadObject":
		return refusal(501, "NotImplemented", "This object is there only to be listed.")
	case row.DeleteMarker && r.VersionID == "":
		return refusal(404, "NoSuchKey", "The specified key does not exist.")
	case row.DeleteMarker:
		return refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	case row.Header.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "" &&
		r.Header.Get("X-Amz-Server-Side-Encryption-Customer-Key") == "":
		return refusal(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption.")
	}
	a := reply(200, "")
	maps.Copy(a.header, row.Header)
	a.header.Set("Content-Length", strconv.FormatInt(row.Size, 10))
	a.header.Set("ETag", `"`+row.ETag+`"`)
	a.header.Set("Last-Modified", row.Modified.UTC().Format(http.TimeFormat))
	for name, value := range map[string]string{"X-Amz-Version-Id": row.VersionID, "X-Amz-Storage-Class": row.StorageClass} {
		if value != "" {
			a.header.Set(name, value)
		}
	}
	return a
}

// An item is one row of a page, or a folded prefix.
type item struct {
	Row
	latest, folded bool
}

// A listing is what one request asks for.
type listing struct {
	prefix, delimiter string
	versions          bool
	after, version    string // after that version of the key, or after all of them
	folded            bool   // after all keys that begin with after
	limit             int
	odd               bool // as Config.OddVersions says
}

// folds is what the delimiter makes of key, "" if nothing.
func (q *listing) folds(key string) string {
	rest, ok := strings.CutPrefix(key, q.prefix)
	if n := strings.Index(rest, q.delimiter); ok && n >= 0 && q.delimiter != "" {
		return key[:len(q.prefix)+n+len(q.delimiter)]
	}
	return ""
}

// A page is the answer, before it is written and while a fault can still spoil it.
type page struct {
	items     []item
	before    func(n int) []item // the last n rows before the page
	truncated bool
	token     string // empty: none
	markers   bool
	first     item // after which the page begins
	last      item // after which the next one does
	versions  bool
}

// A cursor walks through a bucket by key.
type cursor struct {
	b    *bucket
	keys []string
	rows []Row
	room []Row
}

// skip passes the keys for which passed holds; they must come first.
func (c *cursor) skip(passed func(key string) bool) {
	c.keys = c.keys[sort.Search(len(c.keys), func(i int) bool { return !passed(c.keys[i]) }):]
	c.rows = c.rows[sort.Search(len(c.rows), func(i int) bool { return !passed(c.rows[i].Key) }):]
}

// next returns all versions of the next key, the newest first.
func (c *cursor) next() []Row {
	switch {
	case len(c.keys) > 0 && (len(c.rows) == 0 || c.keys[0] <= c.rows[0].Key):
		key := c.keys[0]
		c.keys, c.room = c.keys[1:], c.room[:0]
		for _, o := range slices.Backward(c.b.objects[key]) {
			c.room = append(c.room, Row{
				Key: key, VersionID: o.VersionID, ETag: o.ETag, StorageClass: o.StorageClass, Size: int64(len(o.Body)),
				Modified: o.Modified, DeleteMarker: o.DeleteMarker,
			})
		}
		return c.room
	case len(c.rows) > 0:
		n := 1
		for n < len(c.rows) && c.rows[n].Key == c.rows[0].Key {
			n++
		}
		group := c.rows[:n]
		c.rows = c.rows[n:]
		return group
	}
	return nil
}

// collect lists.
func (c *cursor) collect(q listing) (items []item, more bool) {
	c.skip(func(key string) bool {
		return key < q.prefix || key < q.after || key == q.after && key != "" && q.version == "" && !q.odd ||
			q.folded && strings.HasPrefix(key, q.after)
	})
	onlyNull := false
	for group := c.next(); group != nil; group = c.next() {
		key := group[0].Key
		if !strings.HasPrefix(key, q.prefix) {
			return items, false
		}
		if !q.versions && group[0].DeleteMarker {
			continue
		}
		if folded := q.folds(key); folded != "" {
			if len(items) == q.limit {
				return items, true
			}
			items = append(items, item{Row: Row{Key: folded}, folded: true})
			c.skip(func(key string) bool { return key < folded || strings.HasPrefix(key, folded) })
			continue
		}
		if !q.versions {
			group = group[:1]
		}
		from := 0
		if key == q.after && q.version != "" {
			from = 1 + slices.IndexFunc(group, func(r Row) bool { return cmp.Or(r.VersionID, "null") == q.version })
			if q.odd && from == 1 {
				from = 0
			}
			onlyNull = q.odd && from > 0 && q.version == "null"
		}
		for i := from; i < len(group); i++ {
			if onlyNull && group[i].VersionID != "" {
				continue
			}
			if len(items) == q.limit {
				return items, true
			}
			items = append(items, item{Row: group[i], latest: i == 0})
		}
	}
	return items, false
}

// before lists the last n rows up to where q begins.
func (b *bucket) before(q listing, n int) []item {
	keys, rows := b.sorted(), b.rows
	past := func(key string) bool { return key > q.after }
	to := sort.Search(len(keys), func(i int) bool { return past(keys[i]) })
	rowsTo := sort.Search(len(rows), func(i int) bool { return past(rows[i].Key) })
	rowsFrom := max(0, rowsTo-n)
	for rowsFrom > 0 && rows[rowsFrom-1].Key == rows[rowsFrom].Key {
		rowsFrom--
	}
	c := cursor{b: b, keys: keys[max(0, to-n):to], rows: rows[rowsFrom:rowsTo]}
	items, _ := c.collect(listing{prefix: q.prefix, versions: q.versions, limit: -1})
	if at := slices.IndexFunc(items, func(i item) bool {
		return i.Key == q.after && cmp.Or(i.VersionID, "null") == q.version
	}); at >= 0 && q.version != "" {
		items = items[:at+1]
	}
	return items[max(0, len(items)-n):]
}

// list answers ListObjectsV2 and ListObjectVersions.
func (s *Server) list(r *Request, b *bucket, query url.Values, spoil func(*page)) *answer {
	q := listing{
		prefix: query.Get("prefix"), delimiter: query.Get("delimiter"), versions: r.Op == "ListObjectVersions", limit: s.cfg.PageSize,
	}
	q.odd = q.versions && s.cfg.OddVersions
	if raw := query.Get("max-keys"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 0 {
			return refusal(400, "InvalidArgument", "Provided max-keys not an integer or within integer range")
		}
		q.limit = min(q.limit, n)
	}
	if q.versions {
		q.after, q.version = query.Get("key-marker"), query.Get("version-id-marker")
		q.folded = q.after != "" && q.version == "" && q.folds(q.after) == q.after
		if q.version != "" && q.after == "" {
			return refusal(400, "InvalidArgument", "A version-id marker cannot be specified without a key marker.")
		}
	} else if q.after = query.Get("start-after"); query.Has("continuation-token") {
		var ok bool
		if q.after, q.folded, ok = readToken(query.Get("continuation-token")); !ok {
			return refusal(400, "InvalidArgument", "The continuation token provided is incorrect")
		}
	}
	p := page{versions: q.versions, before: func(n int) []item { return b.before(q, n) }}
	p.first = item{Row: Row{Key: q.after, VersionID: q.version}, folded: q.folded}
	p.last = p.first
	if q.limit > 0 {
		c := cursor{b: b, keys: b.sorted(), rows: b.rows}
		p.items, p.truncated = c.collect(q)
	}
	if len(p.items) > 0 {
		p.last = p.items[len(p.items)-1]
	}
	p.pointOn()
	if q.odd {
		markers := slices.DeleteFunc(slices.Clone(p.items), func(i item) bool { return !i.DeleteMarker })
		p.items = append(markers, slices.DeleteFunc(p.items, func(i item) bool { return i.DeleteMarker })...)
	}
	if spoil != nil {
		spoil(&p)
		s.tokens++
		if p.token != "" {
			p.token += "-" + strconv.Itoa(s.tokens) // a spoilt page does not look like the one before
		}
	}
	return reply(200, string(s.appendPage(nil, r, query, &p)))
}

// pointOn has the page say where to go on, if there is more.
func (p *page) pointOn() {
	p.markers = p.truncated && p.versions
	if p.token = ""; p.truncated && !p.versions {
		kind := "k"
		if p.last.folded {
			kind = "p"
		}
		p.token = hex.EncodeToString([]byte(kind + p.last.Key))
	}
}

func readToken(token string) (key string, folded, ok bool) {
	token, _, _ = strings.Cut(token, "-")
	b, err := hex.DecodeString(token)
	if err != nil || len(b) == 0 {
		return "", false, false
	}
	return string(b[1:]), b[0] == 'p', true
}

// sorted is the keys of all objects; it is kept until a key comes or goes.
func (b *bucket) sorted() []string {
	if b.index == nil {
		b.index = slices.Sorted(maps.Keys(b.objects))
	}
	return b.index
}

// appendPage writes the document.
func (s *Server) appendPage(b []byte, r *Request, query url.Values, p *page) []byte {
	text := func(b []byte, s string) []byte { return append(b, html.EscapeString(s)...) }
	key := appendURLEncoded
	encoding := query.Get("encoding-type")
	if encoding != "url" || s.cfg.RawKeys {
		encoding, key = "", appendXML
	}
	put := func(name, value string, as func([]byte, string) []byte) {
		if value != "" {
			b = append(as(append(append(append(b, '<'), name...), '>'), value), "</"...)
			b = append(append(b, name...), '>')
		}
	}
	root := "ListBucketResult"
	if r.Op == "ListObjectVersions" {
		root = "ListVersionsResult"
	}
	b = append(b, xmlHeader+"<"+root+` xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`...)
	put("Name", r.Bucket, text)
	put("Prefix", query.Get("prefix"), key)
	put("Delimiter", query.Get("delimiter"), key)
	put("StartAfter", query.Get("start-after"), key)
	put("KeyMarker", query.Get("key-marker"), key)
	put("VersionIdMarker", query.Get("version-id-marker"), text)
	put("MaxKeys", cmp.Or(query.Get("max-keys"), "1000"), text)
	put("EncodingType", encoding, text)
	put("IsTruncated", strconv.FormatBool(p.truncated), text)
	put("NextContinuationToken", p.token, text)
	if p.markers {
		put("NextKeyMarker", p.last.Key, key)
		if !p.last.folded {
			put("NextVersionIdMarker", cmp.Or(p.last.VersionID, "null"), text)
		}
	}
	if root == "ListBucketResult" {
		put("KeyCount", strconv.Itoa(len(p.items)), text)
	}
	for i := range p.items {
		if it := &p.items[i]; !it.folded {
			b = append(b, it.open(root)...)
			put("Key", it.Key, key)
			b = it.append(b, root == "ListVersionsResult")
		}
	}
	for i := range p.items {
		if it := &p.items[i]; it.folded {
			b = append(b, "<CommonPrefixes>"...)
			put("Prefix", it.Key, key)
			b = append(b, "</CommonPrefixes>"...)
		}
	}
	return append(b, "</"+root+">"...)
}

func (it *item) open(root string) string {
	switch {
	case it.DeleteMarker:
		return "<DeleteMarker>"
	case root == "ListVersionsResult":
		return "<Version>"
	}
	return "<Contents>"
}

// append writes a row from behind its key.
func (it *item) append(b []byte, versions bool) []byte {
	if versions {
		b = append(append(b, "<VersionId>"...), cmp.Or(it.VersionID, "null")...)
		b = strconv.AppendBool(append(b, "</VersionId><IsLatest>"...), it.latest)
		b = append(b, "</IsLatest>"...)
	}
	b = it.Modified.UTC().AppendFormat(append(b, "<LastModified>"...), "2006-01-02T15:04:05.000Z")
	b = append(b, "</LastModified>"...)
	if it.DeleteMarker {
		return append(b, "</DeleteMarker>"...)
	}
	b = append(append(b, "<ETag>&quot;"...), it.ETag...)
	b = strconv.AppendInt(append(b, "&quot;</ETag><Size>"...), it.Size, 10)
	b = append(append(b, "</Size><StorageClass>"...), cmp.Or(it.StorageClass, "STANDARD")...)
	b = append(b, "</StorageClass>"...)
	if versions {
		return append(b, "</Version>"...)
	}
	return append(b, "</Contents>"...)
}

// appendURLEncoded escapes as S3 does in listings: a space becomes +, slashes stay.
func appendURLEncoded(b []byte, s string) []byte {
	for i, part := range strings.Split(s, "/") {
		if i > 0 {
			b = append(b, '/')
		}
		b = append(b, url.QueryEscape(part)...)
	}
	return b
}

// appendXML escapes as servers written in Go do.
func appendXML(b []byte, s string) []byte {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(s)) // a Buffer takes everything
	return append(b, out.Bytes()...)
}
