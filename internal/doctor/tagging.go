package doctor

import (
	"context"
	"fmt"
	"strings"

	"stevedore/internal/job"
	"stevedore/internal/objectstore"
)

// tagged writes the scratch object with a tag.
func tagged() []objectstore.Header {
	return []objectstore.Header{{Name: "x-amz-tagging", Value: "from=source"}}
}

// hasTags reads tags back.
func hasTags(want ...job.Tag) func(context.Context, *exam, *patient, job.Outcome) verdict {
	return func(ctx context.Context, e *exam, p *patient, _ job.Outcome) verdict {
		got, err := e.tags(ctx, e.object(p))
		switch {
		case err != nil:
			return unreadable(err)
		case got == tagText(want):
			return works("")
		case len(got) > 100:
			return ignored("other tags")
		}
		return ignored(fmt.Sprintf("the tags are %q", got))
	}
}

func (e *exam) taggings(ctx context.Context) {
	const put, del = "S3PutObjectTagging", "S3DeleteObjectTagging"
	e.progress(put)
	set := func(tags ...job.Tag) job.Operation {
		return job.Operation{S3PutObjectTagging: &job.S3PutObjectTagging{TagSet: append([]job.Tag{}, tags...)}} // empty is not nil
	}
	plain := []job.Tag{{Key: "checked by", Value: "doctor+co"}, {Key: "n", Value: "2"}}
	foreign := []job.Tag{{Key: "größe", Value: "日本"}}
	var full []job.Tag
	for i := range 10 {
		full = append(full, job.Tag{Key: fmt.Sprint(i) + strings.Repeat("k", 127), Value: strings.Repeat("v", 256)})
	}
	remove := job.Operation{S3DeleteObjectTagging: &job.S3DeleteObjectTagging{}}
	for _, t := range []trial{
		{operation: put, op: set(plain...), effect: hasTags(plain...)},
		{operation: put, parameter: "empty TagSet", put: tagged(), op: set(), effect: hasTags()},
		{operation: put, parameter: "beyond ASCII", op: set(foreign...), effect: hasTags(foreign...)},
		{operation: put, parameter: "ten of full length", op: set(full...), effect: hasTags(full...)},
		{operation: put, parameter: "VersionId", op: set(plain...), old: true, effect: hasTags(plain...)},
		{operation: del, put: tagged(), op: remove, effect: hasTags()},
		{operation: del, parameter: "current of several versions", put: tagged(), op: remove, two: true, effect: hasTags()},
		{operation: del, parameter: "VersionId", put: tagged(), op: remove, old: true, effect: hasTags()},
	} {
		e.try(ctx, &t)
	}
}
