//go:build !slim

package devstore

import (
	"bytes"
	"encoding/xml"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3err"
)

// tagText is what S3 allows in the key and the value of a tag.
var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// putTags serves PutObjectTagging with tags that are not ASCII: S3 counts the
// characters of keys and values, versitygw their bytes. It has verified the request
// and found a tag too long; any other answer stays.
func (b *backend) putTags(c fiber.Ctx, bucket, key string) error {
	var want struct {
		XMLName xml.Name                      `xml:"Tagging"`
		Tags    []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if !bytes.Contains(c.Response().Body(), []byte("<Code>InvalidTag</Code>")) || !parse(c.BodyRaw(), &want) || len(want.Tags) > 10 {
		return nil
	}
	tags := map[string]string{}
	for _, t := range want.Tags {
		_, twice := tags[t.Key]
		if n := utf8.RuneCountInString(t.Key); twice || n == 0 || n > 128 || utf8.RuneCountInString(t.Value) > 256 ||
			!tagText.MatchString(t.Key) || !tagText.MatchString(t.Value) {
			return nil
		}
		tags[t.Key] = t.Value
	}
	if err := b.PutObjectTagging(c.RequestCtx(), bucket, key, c.Query("versionId"), tags); err != nil {
		return fail(c, err)
	}
	return succeed(c, fiber.StatusOK, nil)
}

// strayed is the answer to a call about what belongs to an object, such as its tags,
// under its key with a slash behind: versitygw would find the object. Nil for all
// others.
func (b *backend) strayed(c fiber.Ctx, bucket, key string) error {
	plain, slash := strings.CutSuffix(key, "/")
	if !slash || plain == "" || bucket == "" || !fs.ValidPath(bucket) {
		return nil
	}
	query := c.Request().URI().QueryArgs()
	for _, about := range []string{"tagging", "acl", "attributes", "encryption", "legal-hold", "restore", "retention"} {
		if !query.Has(about) {
			continue
		}
		if info, err := os.Stat(filepath.Join(bucket, plain)); err == nil && info.Mode().IsRegular() {
			return s3err.GetAPIError(s3err.ErrNoSuchKey)
		}
	}
	return nil
}
