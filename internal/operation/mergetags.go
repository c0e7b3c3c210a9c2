package operation

import (
	"context"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// maxTags is how many tags an object of S3 can have.
const maxTags = 10

const (
	addArgument    = "add."    // add.<key>=<value>
	removeArgument = "remove." // remove.<key>=<anything>
	removeList     = "remove"  // remove=<key>,<key>
)

// mergeTags adds and removes single tags and keeps the others: GET, then PUT
// ?tagging. Somebody else who changes the tags of the same object in between is
// overwritten; S3 has no condition for tags.
type mergeTags struct {
	client Client
	add    map[string]string
	remove []string
}

func newMergeTags(args map[string]string, env Env) (Operation, error) {
	o := &mergeTags{client: env.Client, add: map[string]string{}}
	err := unknownArgument(mergeTagsFunction, args, func(name string) bool {
		if key, ok := strings.CutPrefix(name, addArgument); ok {
			o.add[key] = args[name]
			return key != ""
		}
		if key, ok := strings.CutPrefix(name, removeArgument); ok {
			o.remove = append(o.remove, key)
			return key != ""
		}
		if name != removeList {
			return false
		}
		for key := range strings.SplitSeq(args[name], ",") {
			if key != "" {
				o.remove = append(o.remove, key)
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if len(o.add)+len(o.remove) == 0 {
		return nil, refuse("InvalidRequest", mergeTagsFunction+` needs user arguments such as {"add.stage":"done","remove":"old,older"}, and so InvocationSchemaVersion 2.0`)
	}
	for key, value := range o.add {
		if slices.Contains(o.remove, key) {
			return nil, refuse("InvalidRequest", mergeTagsFunction+" cannot both add and remove the tag "+key)
		}
		if len([]rune(key)) > 128 || len([]rune(value)) > 256 {
			return nil, refuse("InvalidRequest", mergeTagsFunction+": the tag "+key+" is too long: S3 allows 128 characters in a key and 256 in a value")
		}
	}
	return o, nil
}

func (o *mergeTags) Do(ctx context.Context, t *Task, s *Scratch, out *job.Outcome) error {
	s.req = objectstore.Request{Method: http.MethodGet, Bucket: t.Bucket, Key: t.Key, VersionID: t.VersionID, Query: "tagging"}
	if err := s.do(ctx, o.client, out); err != nil {
		return err
	}
	if out.Failed && out.Code != "NoSuchTagSet" { // as some stores call it that there are none
		return nil
	}
	attempts := out.Attempts
	var before map[string]string
	if !out.Failed {
		var ok bool
		if before, ok = readTags(s.res.Body); !ok {
			*out = job.Outcome{Failed: true, HTTPStatus: 500, Code: job.CodeInternal, Message: "The store's answer to GetObjectTagging cannot be read", Attempts: attempts}
			return nil
		}
	}
	after := o.merge(before)
	switch {
	case maps.Equal(before, after):
		*out = job.Outcome{HTTPStatus: http.StatusOK, Message: success, Attempts: attempts}
		return nil
	case len(after) > maxTags:
		*out = job.Outcome{
			Failed: true, HTTPStatus: 400, Code: "BadRequest", Attempts: attempts,
			Message: fmt.Sprintf("Object tags cannot be greater than %d: with those to be added it would have %d", maxTags, len(after)),
		}
		return nil
	}
	s.req.Method, s.req.Body = http.MethodPut, tagSet(after)
	if err := s.do(ctx, o.client, out); err != nil {
		return err
	}
	out.Attempts += attempts - 1 // reading is no second try
	return nil
}

// merge returns the tags as they should be.
func (o *mergeTags) merge(before map[string]string) map[string]string {
	after := maps.Clone(before)
	if after == nil {
		after = map[string]string{}
	}
	for _, key := range o.remove {
		delete(after, key)
	}
	maps.Copy(after, o.add)
	return after
}

// readTags reads the answer to GetObjectTagging; false if that is something else.
func readTags(body []byte) (map[string]string, bool) {
	var tagging struct {
		XMLName xml.Name                      `xml:"Tagging"`
		Tags    []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if xml.Unmarshal(body, &tagging) != nil {
		return nil, false
	}
	tags := map[string]string{}
	for _, t := range tagging.Tags {
		tags[t.Key] = t.Value
	}
	return tags, true
}

// tagSet is the document for PutObjectTagging.
func tagSet(tags map[string]string) objectstore.Body {
	d := newDocument("Tagging")
	d.WriteString("<TagSet>")
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		d.WriteString("<Tag>")
		d.text("Key", key)
		d.text("Value", tags[key])
		d.WriteString("</Tag>")
	}
	d.WriteString("</TagSet>")
	return d.body("Tagging")
}
