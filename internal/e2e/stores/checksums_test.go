//go:build stores

package stores

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
)

// partSize is the size of the first part of objects that are uploaded in two.
const partSize = 5 << 20

// inTwoParts replaces an object by the same content in two parts.
func inTwoParts(w *world, o object) error {
	ctx := context.Background()
	up, err := w.s3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &o.bucket, Key: &o.key})
	if err != nil {
		return err
	}
	var done s3types.CompletedMultipartUpload
	for n, part := range [][]byte{o.body[:partSize], o.body[partSize:]} {
		number := aws.Int32(int32(n + 1))
		out, err := w.s3.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &o.bucket, Key: &o.key, UploadId: up.UploadId, PartNumber: number, Body: bytes.NewReader(part),
		})
		if err != nil {
			return err
		}
		done.Parts = append(done.Parts, s3types.CompletedPart{ETag: out.ETag, PartNumber: number})
	}
	_, err = w.s3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &o.bucket, Key: &o.key, UploadId: up.UploadId, MultipartUpload: &done,
	})
	return err
}

func checksums() []trial {
	compute := func(a types.ComputeObjectChecksumAlgorithm, kind types.ComputeObjectChecksumType) func(*world, string) types.JobOperation {
		return func(*world, string) types.JobOperation {
			return types.JobOperation{S3ComputeObjectChecksum: &types.S3ComputeObjectChecksumOperation{ChecksumAlgorithm: a, ChecksumType: kind}}
		}
	}
	reported := func(sum func([]byte) []byte) func(*world, object, string, row) error {
		return func(_ *world, o object, _ string, r row) error {
			var got struct {
				Hex string `json:"checksum_hex"`
			}
			if err := json.Unmarshal([]byte(r.message), &got); err != nil {
				return err
			}
			if want := strings.ToUpper(hex.EncodeToString(sum(o.body))); got.Hex != want {
				return fmt.Errorf("got %s, want %s", got.Hex, want)
			}
			return nil
		}
	}
	by := func(n func() hash.Hash) func([]byte) []byte {
		return func(b []byte) []byte {
			h := n()
			h.Write(b)
			return h.Sum(nil)
		}
	}
	nvme := func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) }
	castagnoli := func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }
	ieee := func() hash.Hash { return crc32.NewIEEE() }
	composite := func(b []byte) []byte {
		return by(sha256.New)(append(by(sha256.New)(b[:partSize]), by(sha256.New)(b[partSize:])...))
	}
	list := []trial{
		{parameter: "CRC64NVME", op: compute("CRC64NVME", "FULL_OBJECT"), effect: reported(by(nvme))},
		{parameter: "CRC32", op: compute("CRC32", "FULL_OBJECT"), effect: reported(by(ieee))},
		{parameter: "CRC32C", op: compute("CRC32C", "FULL_OBJECT"), effect: reported(by(castagnoli))},
		{parameter: "SHA1", op: compute("SHA1", "FULL_OBJECT"), effect: reported(by(sha1.New))},
		{parameter: "SHA256", op: compute("SHA256", "FULL_OBJECT"), effect: reported(by(sha256.New))},
		{parameter: "SHA512", op: compute("SHA512", "FULL_OBJECT"), effect: reported(by(sha512.New))},
		{parameter: "MD5", op: compute("MD5", "FULL_OBJECT"), effect: reported(by(md5.New))},
		{parameter: "old version", in: "versioned", versions: old, op: compute("SHA256", "FULL_OBJECT"), effect: reported(by(sha256.New))},
		{parameter: "SHA256, FULL_OBJECT of two parts", size: partSize + 1000, before: inTwoParts, op: compute("SHA256", "FULL_OBJECT"), effect: reported(by(sha256.New))},
		{parameter: "SHA256, COMPOSITE of two parts", size: partSize + 1000, before: inTwoParts, op: compute("SHA256", "COMPOSITE"), effect: reported(composite)},
	}
	for i := range list {
		list[i].operation, list[i].elsewhere = "S3ComputeObjectChecksum", true
	}
	return list
}
