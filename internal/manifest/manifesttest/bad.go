// Package manifesttest holds manifests that break a rule, each with what its job has to say about
// it. They are small and made anew by every call, so that tests of other packages may send all of them
// through whatever they test.
package manifesttest

import (
	"bytes"
	"compress/gzip"
	"crypto/md5" //nolint:gosec // what inventories are checked with
	"encoding/hex"
	"fmt"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/manifest/parquet"
)

// Bad is a manifest that fails its job before any task.
type Bad struct {
	Name    string
	Format  job.ManifestFormat
	Fields  []job.Field       // of a CSV manifest
	Key     string            // of the manifest object
	Objects map[string][]byte // the manifest object and its data files, by key
	Code    string            // of the FailureReason
	Reason  string            // what the FailureReason contains: line or file, and cause
}

// Bads returns all of them. bucket is the name of the one that their objects will be put into.
func Bads(bucket string) []Bad {
	return append(append(csvs(), inventories(bucket)...), data(bucket)...)
}

const (
	format  = "Manifest file is not properly formatted: "
	content = "Invalid Manifest Content: "
	key     = "Invalid object key format: "
	version = "Invalid version ID format: "
	schema  = "Required fields are missing in the schema: "
	lenient = "or tag the job stevedore:manifest=lenient"
)

// csvs returns bad CSV manifests.
func csvs() (bads []Bad) {
	add := func(name, fields, text, reason string) {
		bad := Bad{
			Name: name, Format: job.ManifestCSV, Key: "bad/manifest.csv",
			Objects: map[string][]byte{"bad/manifest.csv": []byte(text)},
			Code:    job.CodeInvalidManifest, Reason: reason,
		}
		for field := range strings.SplitSeq(fields, ",") {
			bad.Fields = append(bad.Fields, job.Field(field))
		}
		bads = append(bads, bad)
	}
	const bk, bkv = "Bucket,Key", "Bucket,Key,VersionId"
	add("empty", bk, "", content+"the manifest has no rows")
	add("only blank lines", bk, "\n\r\n\n", content+"the manifest has no rows")
	add("too few columns", bk, "src,a\nsrc\n", format+"line 2: got 1 columns, want 2")
	add("too many columns", bk, "src,plain.txt\nsrc,photos/a%20b.jpg,extra\n", format+"line 2: got 3 columns, want 2")
	add("version column missing", bkv, "src,a,v\nsrc,b\n", format+"line 2: got 2 columns, want 3")
	add("ignored column missing", "Ignore,Bucket,Key", "src,a\n", format+"line 1: got 2 columns, want 3")
	add("comma in a key", bk, "src,a,b\n", format+"line 1: got 3 columns, want 2")
	add("comma at the end", bk, "src,a,\n", format+"line 1: got 3 columns, want 2")
	add("semicolons", bk, "src;a\n", format+"line 1: got 1 columns, want 2; put commas between them, not semicolons")
	add("tabs", bk, "src\ta\n", format+"line 1: got 1 columns, want 2; put commas between them, not tabs")
	add("bars", bk, "src|a\n", format+"line 1: got 1 columns, want 2; put commas between them, not bars")
	add("addresses", bk, "s3://src/a\ts3://src/b\n", format+"line 1: got 1 columns, want 2; write bucket,key, not s3://bucket/key")
	add("blank that is not empty", bk, "src,a\n \nsrc,b\n", format+"line 2: got 1 columns, want 2")
	add("header", bk, "Bucket,Key\nsrc,a\n", format+"line 1: the row names the columns; remove it, "+lenient)
	add("header in quotes", "Ignore,Bucket,Key", "\"id\",\"Bucket\",\"KEY\"\r\n\"1\",\"src\",\"a\"\r\n", format+"line 1: the row names the columns; remove it, "+lenient)
	add("header that may be an object", bk, "bucket,key\nsrc,a\n",
		format+"line 1: the row names the columns; remove it, "+lenient+"; if it is an object, write its key %6Bey")
	add("header of an index", "Ignore,Bucket,Key", ",bucket,key\n0,src,a\n", format+"line 1: the row names the columns; remove it, "+lenient)
	add("header of other names", bk, "bucket_name,Object-Key\nsrc,a\n", format+"line 1: the row names the columns; remove it, "+lenient)
	add("header in another order", bk, "Key,Bucket\na,src\n",
		format+"line 1: the row names the columns, but not as Fields has them; remove it, and make Fields Key,Bucket")
	add("header of other names in another order", bk, "Object Name,Bucket\na,src\n",
		format+"line 1: the row names the columns, but not as Fields has them; remove it, and make Fields Key,Bucket")
	add("header with the version before the key", bkv, "bucket,version_id,key\nsrc,v,a\n",
		format+"line 1: the row names the columns, but not as Fields has them; remove it, and make Fields Bucket,VersionId,Key; if it is an object, write its key %76ersion_id")
	add("byte order mark", bk, "\ufeffsrc,plain.txt\n", format+"line 1: the line starts with a byte order mark; save the file as UTF-8 without BOM, "+lenient)
	add("UTF-16", bk, "\xff\xfes\x00r\x00c\x00,\x00a\x00\n\x00", format+"line 1: the file is UTF-16")
	add("UTF-16 without mark", bk, "s\x00r\x00c\x00,\x00a\x00\n\x00", format+"line 1: NUL at byte 2")
	add("Latin-1", bk, "src,a\nsrc,caf\xe9\n", format+"line 2: not UTF-8: byte 0xE9 at byte 8")
	add("NUL", bk, "src,a\x00b\n", format+"line 1: NUL at byte 6")
	add("carriage returns only", bk, "src,a\rsrc,b\r", format+"line 1: carriage return at byte 6")
	add("line break in a cell", bk, "src,x\nsrc,\"a\nb\"\n", format+"line 2: column 2: the quote is not closed")
	add("quote not closed", bk, "src,\"a\n", format+"line 1: column 2: the quote is not closed")
	add("quote inside a cell", bk, "src,a\"b\n", format+"line 1: column 2: quote inside a cell that is not quoted")
	add("text behind a quote", bk, "\"src\"x,a\n", format+"line 1: column 1: text after the closing quote")
	add("bucket empty", bk, "src,a\n,b\n", content+"line 2: the bucket is empty")
	add("key empty", bk, "src,a\nsrc,\n", key+"line 2: the key is empty")
	add("space after a bucket", bk, "src ,a\n", content+`line 1: the bucket "src " has white space`)
	add("space in a key", bk, "src,a\nsrc,my photo.jpg\n", key+`line 2: "my photo.jpg" has a space that is not encoded; write %20, `+lenient)
	add("space behind a key", bk, "src,a \n", key+`line 1: "a " has a space that is not encoded`)
	add("tab in a key", bk, "src,a\tb\n", key+`line 1: "a\tb" has a control character that is not encoded; write %09`)
	add("JSON as a key", bk, "src,{\"a\": 1}\n", format+"line 1: column 2: quote inside a cell that is not quoted")
	add("percent alone", bk, "src,50%zz.txt\n", key+`line 1: "%zz" is no % and two hexadecimal digits; write a % in a key as %25`)
	add("percent cut off", bk, "src,a\nsrc,b\nsrc,100%\n", key+`line 3: "%" is no %`)
	add("key not UTF-8", bk, "src,%FF%FE.txt\n", key+`line 1: "%FF%FE.txt" is not UTF-8 after decoding: byte 0xFF`)
	add("key too long", bk, "src,"+strings.Repeat("k", 1025)+"\n", key+"line 1: the key has 1025 bytes after decoding, at most 1024 are allowed")
	add("version too long", bkv, "src,a,"+strings.Repeat("v", 1025)+"\n", version+"line 1: the version id has 1025 bytes")
	add("version with a space", bkv, "src,a,v1 \n", version+`line 1: "v1 " has white space`)
	add("line too long", bk, "src,"+strings.Repeat("k", 70_000)+"\n", format+"line 1: longer than 65536 bytes")
	add("gzip", bk, string(zipped("src,a\n")), format+"line 1: the file is gzip-compressed; store it uncompressed, "+lenient)
	add("zstd", bk, "\x28\xb5\x2f\xfd\x04\x00\x31\x00\x00src,a\n", format+"line 1: the file is zstd-compressed")
	add("spreadsheet", bk, "PK\x03\x04\x14\x00\x06\x00", format+"line 1: the file is a ZIP archive or a spreadsheet")
	add("Parquet as CSV", bk, string(parquetOf("src", "a")), format+"line 1: the file is Parquet or ORC, not CSV; make it CSV with stevedore manifest convert")
	add("manifest.json as CSV", bk, "{\n  \"sourceBucket\": \"src\"\n}\n",
		format+"line 1: the file is JSON, not CSV; if it is an inventory's manifest.json, its format is S3InventoryReport_CSV_20161130")
	return bads
}

// inventories returns inventories whose manifest.json is bad.
func inventories(bucket string) (bads []Bad) {
	add := func(name, text, reason string) {
		bads = append(bads, Bad{
			Name: name, Format: job.ManifestInventory, Key: "bad/manifest.json",
			Objects: map[string][]byte{"bad/manifest.json": []byte(strings.ReplaceAll(text, "BUCKET", bucket))},
			Code:    job.CodeInvalidManifest, Reason: reason,
		})
	}
	const (
		file = `{"key": "data/1.csv.gz", "size": 1, "MD5checksum": "68b329da9893e34099c7d8ad5cb9c940"}`
		head = `{"destinationBucket": "arn:aws:s3:::BUCKET", "fileFormat": "CSV", "fileSchema": "Bucket, Key", `
		tail = `"files": [` + file + `]}`
	)
	add("CSV as manifest.json", "src,a\nsrc,b\n", format+"manifest.json: it is no JSON object; if it is a list of objects, its format is S3BatchOperations_CSV_20180820")
	add("data file as manifest.json", string(zipped("\"src\",\"a\"\n")), format+"manifest.json: it is a data file; give the manifest.json of the inventory instead")
	add("Parquet as manifest.json", string(parquetOf("src", "a")), format+"manifest.json: it is a data file")
	add("manifest.json empty", "", format+"manifest.json: it is empty")
	add("manifest.json cut off", head+`"files": [{"key": "da`, format+"manifest.json: ")
	add("manifest.json with a byte order mark", "\ufeff"+head+tail, format+"manifest.json: it starts with a byte order mark")
	add("manifest.json with a comma too many", head+`"files": [`+file+`,]}`, format+"manifest.json: ")
	add("manifest.json of an array", "["+head+tail+"]", format+"manifest.json: it is no JSON object")
	add("manifest.json with more behind it", head+tail+"{}", format+"manifest.json: there is more behind its end")
	add("files twice", head+`"files": [], `+tail, format+"manifest.json: files is there twice")
	add("files missing", head+`"version": "2016-11-30"}`, content+"manifest.json: files is missing")
	add("files no array", head+`"files": {}}`, format+"manifest.json: files: want [")
	add("size no number", head+`"files": [{"key": "a", "size": "big"}]}`, format+"manifest.json: file 1 size: got a string")
	add("no files", head+`"files": []}`, content+"the manifest has no rows")
	add("file without key", head+`"files": [{"size": 1}]}`, content+"manifest.json: file 1 has no key")
	add("file without size", head+`"files": [`+file+`, {"key": "a", "MD5checksum": "68b329da9893e34099c7d8ad5cb9c940"}]}`, content+"manifest.json: file 2 has no size")
	add("file with the size null", head+`"files": [{"key": "a", "size": null}]}`, content+"manifest.json: file 1 has no size")
	add("file with a negative size", head+`"files": [{"key": "a", "size": -1}]}`, content+"manifest.json: file 1 has the size -1")
	add("file with a short sum", head+`"files": [`+file+`, {"key": "a", "size": 1, "MD5checksum": "abc"}]}`, content+`manifest.json: file 2 has the MD5checksum "abc"`)
	add("file twice", head+`"files": [`+file+`, `+file+`]}`, content+"manifest.json: file 2, data/1.csv.gz, is listed twice")
	add("format unknown", strings.Replace(head, "CSV", "Avro", 1)+tail, content+`manifest.json: fileFormat is "Avro"; want CSV, ORC or Parquet`)
	add("format missing", `{"destinationBucket": "BUCKET", "fileSchema": "Bucket, Key", `+tail, content+`manifest.json: fileFormat is ""`)
	add("destination missing", `{"fileFormat": "CSV", "fileSchema": "Bucket, Key", `+tail, content+`manifest.json: destinationBucket is ""; want the ARN of a bucket`)
	add("destination of another service", strings.Replace(head, "aws:s3", "aws:sqs", 1)+tail, content+"manifest.json: destinationBucket is ")
	add("schema missing", `{"destinationBucket": "BUCKET", "fileFormat": "CSV", `+tail, schema+"Bucket, Key")
	add("schema without key", strings.Replace(head, ", Key", ", Size", 1)+tail, schema+"Key")
	add("schema with two keys", strings.Replace(head, ", Key", ", Key, key", 1)+tail, content+"column key is twice in the schema")
	return bads
}

// data returns inventories whose data files are bad.
func data(bucket string) (bads []Bad) {
	add := func(name, kind, code, reason string, file []byte, change func(entry, object map[string]string)) {
		sum := md5.Sum(file) //nolint:gosec // not for safety
		entry := map[string]string{"size": fmt.Sprint(len(file)), "sum": hex.EncodeToString(sum[:])}
		object := map[string]string{"key": "bad/data/1"}
		if change != nil {
			change(entry, object)
		}
		text := fmt.Sprintf(`{"destinationBucket": "arn:aws:s3:::%s", "fileFormat": %q, "fileSchema": "Bucket, Key, VersionId",
 "files": [{"key": "bad/data/1", "size": %s, "MD5checksum": %q}]}`, bucket, kind, entry["size"], entry["sum"])
		bads = append(bads, Bad{
			Name: name, Format: job.ManifestInventory, Key: "bad/manifest.json", Code: code, Reason: reason,
			Objects: map[string][]byte{"bad/manifest.json": []byte(text), object["key"]: file},
		})
	}
	const (
		good  = "\"src\",\"a\",\"null\"\n"
		file  = "file bad/data/1: "
		wrong = job.CodeInvalidManifest
	)
	whole := zipped(strings.Repeat(good, 1000))
	add("data file missing", "CSV", job.CodeManifestNotFound, "bad/data/1", whole, func(_, object map[string]string) { object["key"] = "bad/data/2" })
	add("data file of another sum", "CSV", wrong, content+file+"its MD5 is ", whole, func(entry, _ map[string]string) {
		entry["sum"] = strings.Repeat("0", 32)
	})
	add("data file of another size", "CSV", wrong, content+file+"it has ", whole, func(entry, _ map[string]string) { entry["size"] = "5" })
	add("data file not compressed", "CSV", wrong, content+file, []byte(good), nil)
	add("data file cut off", "CSV", wrong, content+file, whole[:len(whole)/2], nil)
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-6] ^= 1 // in the checksum
	add("data file damaged", "CSV", wrong, content+file, damaged, nil)
	stored := storedIn(gzip.NoCompression, strings.Repeat(good, 1000))
	stored[bytes.IndexByte(stored, ',')] = 'x'
	add("data file damaged in a row", "CSV", wrong, content+file+"gzip data: ", stored, nil)
	add("data row bad in a file of another sum", "CSV", wrong, content+file+"its MD5 is ", zipped(good+"\"src\"\n"), func(entry, _ map[string]string) {
		entry["sum"] = strings.Repeat("0", 32)
	})
	add("data file with garbage behind it", "CSV", wrong, content+file, append(bytes.Clone(whole), "garbage"...), nil)
	add("data file compressed twice", "CSV", wrong, format+file+"line 1: the file is gzip-compressed inside; compress it once", zipped(string(whole)), nil)
	add("data file of no bytes", "CSV", wrong, content+file, nil, nil)
	add("data file of no rows", "CSV", wrong, content+"the manifest has no rows", zipped(""), nil)
	add("data row with a column too few", "CSV", wrong, format+file+"line 3: got 2 columns, want 3", zipped(good+good+"\"src\",\"a\"\n"), nil)
	add("data row with a bad key", "CSV", wrong, key+file+`line 2: "%zz" is no %`, zipped(good+"\"src\",\"%zz\",\"\"\n"), nil)
	add("data row without bucket", "CSV", wrong, content+file+"line 1: the bucket is empty", zipped("\"\",\"a\",\"\"\n"), nil)
	add("data row with a space in its key", "CSV", wrong, key+file+`line 1: "a b" has a space`, zipped("\"src\",\"a b\",\"\"\n"), nil)
	add("Parquet that is CSV", "Parquet", wrong, content+file, whole, nil)
	add("CSV that is Parquet", "CSV", wrong, content+file, parquetOf("src", "a"), nil)
	add("ORC that is CSV", "ORC", wrong, content+file, whole, nil)
	add("Parquet cut off", "Parquet", wrong, content+file, parquetOf("src", "a")[:30], nil)
	add("Parquet of another sum", "Parquet", wrong, content+file+"its MD5 is ", parquetOf("src", "a"), func(entry, _ map[string]string) {
		entry["sum"] = strings.Repeat("0", 32)
	})
	add("Parquet with an empty key", "Parquet", wrong, key+file+"line 2: the key is empty", parquetOf("src", "a", "src", ""), nil)
	add("Parquet without key", "Parquet", wrong, "Required fields are missing in the schema: "+file+"Key", parquetWith([]string{"bucket", "etag"}, "src", "a"), nil)
	return bads
}

// zipped returns text, gzip-compressed.
func zipped(text string) []byte { return storedIn(gzip.DefaultCompression, text) }

// storedIn returns text, gzip-compressed at a level.
func storedIn(level int, text string) []byte {
	var file bytes.Buffer
	z, _ := gzip.NewWriterLevel(&file, level) // the levels are good ones
	_, _ = z.Write([]byte(text))              // a buffer does not fail
	_ = z.Close()
	return file.Bytes()
}

// parquetOf returns a Parquet file of rows of buckets and keys.
func parquetOf(cells ...string) []byte { return parquetWith([]string{"bucket", "key"}, cells...) }

func parquetWith(columns []string, cells ...string) []byte {
	var file bytes.Buffer
	w, err := parquet.NewWriter(&file, columns)
	for err == nil && len(cells) > 0 {
		err = w.Write([][]byte{[]byte(cells[0]), []byte(cells[1])})
		cells = cells[2:]
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer does not fail
	}
	return file.Bytes()
}
