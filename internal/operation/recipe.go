package operation

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"time"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// A recipe says what an object is like that is made from another where the store
// does not do it by CopyObject: what the job asks for, and what is kept.
type recipe struct {
	headers   []objectstore.Header  // asked for
	algorithm job.ChecksumAlgorithm // of the checksum asked for; empty: the source's
	content   bool                  // keep content headers and user metadata
	redirect  bool                  // keep the website redirect, which CopyObject never does
	class     bool                  // keep the storage class, which CopyObject never does
	lock      bool                  // keep legal hold and retention, likewise
	tags      bool                  // keep the tags

	modified, unmodified *time.Time // the source must have changed after the one, and not after the other
}

// newRecipe is the recipe of copies whose CopyObject would have these headers.
func newRecipe(p *job.S3PutObjectCopy, headers []objectstore.Header) recipe {
	r := recipe{
		content: true, tags: p.NewObjectTagging == nil, algorithm: p.ChecksumAlgorithm,
		modified: p.ModifiedSinceConstraint, unmodified: p.UnModifiedSinceConstraint,
	}
	for _, h := range headers {
		switch {
		case h.Name == "x-amz-metadata-directive":
			r.content = h.Value != string(job.MetadataReplace)
		case h.Name == "x-amz-tagging-directive", h.Name == requestPayer, h.Name == checksumAlgorithm,
			strings.HasPrefix(h.Name, copySource):
		default:
			r.headers = append(r.headers, h)
		}
	}
	return r
}

const checksumAlgorithm = "x-amz-checksum-algorithm"

// allows reports whether the source is as old as it is wanted.
func (r *recipe) allows(source *objectstore.Head) bool {
	return (r.modified == nil || source.LastModified.After(*r.modified)) &&
		(r.unmodified == nil || !source.LastModified.After(*r.unmodified))
}

// of is the header block of the object made of source.
func (r *recipe) of(ctx context.Context, c Client, o objectstore.Object, source *objectstore.Head) ([]objectstore.Header, error) {
	block := append([]objectstore.Header(nil), r.headers...)
	asked := map[string]bool{}
	for _, h := range block {
		asked[h.Name] = true
	}
	at := map[string]int{} // user metadata may come more than once; S3 joins it
	keep := func(h objectstore.Header) {
		if i, twice := at[h.Name]; twice {
			block[i].Value += "," + h.Value
		} else if !asked[h.Name] && h.Value != "" || strings.HasPrefix(h.Name, "x-amz-meta-") {
			at[h.Name] = len(block)
			block = append(block, h)
		}
	}
	if r.content {
		for _, h := range source.Content() {
			if h.Name != "x-amz-website-redirect-location" {
				keep(h)
			}
		}
	}
	for _, h := range source.Header {
		switch h.Name {
		case "x-amz-website-redirect-location":
			if r.redirect {
				keep(h)
			}
		case "x-amz-storage-class":
			if r.class {
				keep(h)
			}
		case "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold":
			if r.lock {
				keep(h)
			}
		}
	}
	if r.tags && source.Get("x-amz-tagging-count") != "0" {
		tags, err := tagsOf(ctx, c, o)
		if err != nil {
			return nil, err
		}
		if text := encodeTags(tags); text != "" {
			block = append(block, objectstore.Header{Name: "x-amz-tagging", Value: text})
		}
	}
	return block, nil
}

// tagsOf reads the tags of an object. A store that knows no tags has none.
func tagsOf(ctx context.Context, c Client, o objectstore.Object) ([]job.Tag, error) {
	document, err := objectstore.GetTagging(ctx, c, o)
	if e, ok := asStoreError(err); ok && (e.Code == "NoSuchTagSet" || e.Status == http.StatusNotImplemented || e.Status == http.StatusMethodNotAllowed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		XMLName xml.Name  `xml:"Tagging"`
		Tags    []job.Tag `xml:"TagSet>Tag"`
	}
	if err := xml.Unmarshal(document, &answer); err != nil {
		return nil, fmt.Errorf("read tags of the source: %w", err)
	}
	return answer.Tags, nil
}

// checksumOf is the algorithm of the checksum that CopyObject would give a copy
// of source: the one it has. What every store makes by itself is left to the store.
func (r *recipe) checksumOf(source *objectstore.Head) (algorithm job.ChecksumAlgorithm, inherited bool) {
	if r.algorithm != "" {
		return r.algorithm, false
	}
	for _, a := range []job.ChecksumAlgorithm{"CRC32C", "CRC32", "SHA256", "SHA1"} {
		if source.Get(checksumHeader(a)) != "" {
			return a, true
		}
	}
	return "", false
}

// checksumHeader is the header that carries a checksum.
func checksumHeader(a job.ChecksumAlgorithm) string {
	return "x-amz-checksum-" + strings.ToLower(string(a))
}

// checksumHeaders ask for a checksum of an object that is put together of parts:
// like that of CopyObject over the whole of it, where the algorithm allows.
func checksumHeaders(a job.ChecksumAlgorithm) (create, complete []objectstore.Header) {
	if a == "" {
		return nil, nil
	}
	create = []objectstore.Header{{Name: checksumAlgorithm, Value: string(a)}}
	if a == "CRC32" || a == "CRC32C" || a == "CRC64NVME" {
		complete = []objectstore.Header{{Name: "x-amz-checksum-type", Value: "FULL_OBJECT"}}
	}
	return append(create, complete...), complete
}
