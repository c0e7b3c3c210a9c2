package objectstore

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"time"
)

// A PendingUpload is an upload that a store lists: neither completed nor aborted.
type PendingUpload struct {
	Upload

	Initiator string // who began it; empty: the store does not tell
	Initiated time.Time
}

// Pending lists the uploads that are pending for the key of o, up to a thousand, and what time it is at the store.
func Pending(ctx context.Context, c Client, o Object) ([]PendingUpload, time.Time, error) {
	const op = "ListMultipartUploads"
	req := Request{Method: http.MethodGet, Bucket: o.Bucket, OnBucket: true, Query: "prefix=" + string(AppendValue(nil, o.Key)) + "&uploads=", KeepHeader: true}
	var res Result
	if c.Do(ctx, &req, &res); !res.OK() {
		return nil, time.Time{}, res.failure(op, o)
	}
	var page struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Uploads []struct {
			Key       string
			ID        string `xml:"UploadId"`
			Initiator struct{ ID string }
			Initiated time.Time
		} `xml:"Upload"`
	}
	now, err := http.ParseTime(valueOf(res.Header, "date"))
	if err := errors.Join(err, res.parse(&page)); err != nil {
		return nil, time.Time{}, res.nonsense(op, o, err)
	}
	var found []PendingUpload
	for _, u := range page.Uploads {
		if u.Key == o.Key { // others begin with it
			found = append(found, PendingUpload{Upload{Bucket: o.Bucket, Key: o.Key, ID: u.ID, client: c}, u.Initiator.ID, u.Initiated})
		}
	}
	return found, now, nil
}

// LastPart is when the newest part of an upload came, of its first thousand; zero if it has none.
func (u *Upload) LastPart(ctx context.Context) (time.Time, error) {
	req := u.request(http.MethodGet, "")
	var res Result
	if u.client.Do(ctx, &req, &res); !res.OK() {
		return time.Time{}, res.failure("ListParts", u.object())
	}
	var page struct {
		XMLName xml.Name                           `xml:"ListPartsResult"`
		Parts   []struct{ LastModified time.Time } `xml:"Part"`
	}
	if err := res.parse(&page); err != nil {
		return time.Time{}, res.nonsense("ListParts", u.object(), err)
	}
	var last time.Time
	for _, p := range page.Parts {
		if p.LastModified.After(last) {
			last = p.LastModified
		}
	}
	return last, nil
}
