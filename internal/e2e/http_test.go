package e2e

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// rawCall is a request as no SDK would let us send it.
type rawCall struct {
	method, url, host string
	body              string
	at                time.Time // of the signature; zero: now
	unsigned          bool
	sent              string // sent instead of body
	proxy             bool   // through the API as a proxy: with a target in absolute form
}

// send sends a request signed with the key pair of dev, whatever stands in it.
func (r rawCall) send(t *testing.T, api string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.host != "" {
		req.Host = r.host
	}
	hash := sha256.Sum256([]byte(r.body))
	digest := hex.EncodeToString(hash[:])
	req.Header.Set("X-Amz-Account-Id", account)
	req.Header.Set("X-Amz-Content-Sha256", digest)
	if r.at.IsZero() {
		r.at = time.Now()
	}
	if !r.unsigned {
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		keys := aws.Credentials{AccessKeyID: access, SecretAccessKey: secret}
		if err := signer.SignHTTP(t.Context(), keys, req, digest, "s3", "us-east-1", r.at); err != nil {
			t.Fatal(err)
		}
	}
	if r.sent != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(r.sent)), int64(len(r.sent))
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if r.proxy {
		proxy, err := url.Parse(api)
		if err != nil {
			t.Fatal(err)
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

// TestHTTP is about what comes before XML: targets, hosts, sizes, signatures.
func TestHTTP(t *testing.T) {
	t.Parallel()
	d := startDev(t, 1)
	jobs := d.api + "/v20180820/jobs"

	check := func(name string, r rawCall, status int, words ...string) http.Header {
		t.Helper()
		got, header, body := r.send(t, d.api)
		if got != status {
			t.Errorf("%s: got status %d, want %d: %.300s", name, got, status, body)
		}
		for _, word := range words {
			if !strings.Contains(body, word) {
				t.Errorf("%s: no %q in %.300s", name, word, body)
			}
		}
		if header.Get("X-Amz-Request-Id") == "" || header.Get("X-Amz-Id-2") == "" || header.Get("Content-Type") != "application/xml" {
			t.Errorf("%s: headers of the answer: %v", name, header)
		}
		return header
	}
	const list = "<ListJobsResult"
	check("a plain call", rawCall{method: "GET", url: jobs}, 200, list)
	for _, host := range []string{account + ".jobs.example", "jobs.example:8443", "[::1]:80", "*.example"} {
		check("host "+host, rawCall{method: "GET", url: jobs, host: host}, 200, list)
	}
	check("a base path", rawCall{method: "GET", url: d.api + "/a/b/v20180820/jobs"}, 200, list)
	check("a target in absolute form", rawCall{method: "GET", url: "http://" + account + ".jobs.invalid/v20180820/jobs?maxResults=3", proxy: true}, 200, list)
	check("a proxy for others", rawCall{method: "GET", url: "http://other.invalid/index.html", proxy: true}, 404, "NoSuchKey")

	check("an unknown path", rawCall{method: "GET", url: d.api + "/v20180820/job"}, 404, "NoSuchKey")
	check("an unclean path", rawCall{method: "GET", url: d.api + "/v20180820//jobs"}, 404, "NoSuchKey")
	if allow := check("another method", rawCall{method: "DELETE", url: jobs}, 405, "MethodNotAllowed").Get("Allow"); !strings.Contains(allow, "GET") {
		t.Errorf("Allow: %q", allow)
	}

	check("no signature", rawCall{method: "GET", url: jobs, unsigned: true}, 403, "<Code>")
	check("an old signature", rawCall{method: "GET", url: jobs, at: time.Now().Add(-time.Hour)}, 403, "RequestTimeTooSkewed")
	check("a signature of tomorrow", rawCall{method: "GET", url: jobs, at: time.Now().Add(time.Hour)}, 403, "RequestTimeTooSkewed")

	create := func(body string) rawCall { return rawCall{method: "POST", url: jobs, body: body} }
	job := createXML(d.manifestTag)
	tampered := create(job)
	tampered.sent = strings.Replace(job, "<Priority>1</Priority>", "<Priority>2</Priority>", 1)
	check("another body than was signed", tampered, 403, "SignatureDoesNotMatch")
	check("no body", create(""), 400, "BadRequestException")
	check("no XML", create(`{"Priority":1}`), 400, "BadRequestException")
	check("half a document", create(job[:len(job)/2]), 400, "BadRequestException")
	check("an oversized body", create(job+strings.Repeat(" ", 2<<20)), 400, "BadRequestException", "larger")
	dtd := `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`
	check("a DTD", create(dtd+strings.Replace(job, "made by hand", "&b;", 1)), 400, "BadRequestException")
	check("an unknown member", create(strings.Replace(job, "<Priority>", "<Urgency>1</Urgency><Priority>", 1)), 400, "Urgency")
	check("a member twice", create(strings.Replace(job, "<Priority>", "<Priority>3</Priority><Priority>", 1)), 400, "Priority")
	check("nothing was made of all this", rawCall{method: "GET", url: jobs}, 200, "<Jobs></Jobs>")

	// What is unusual but right.
	check("a declaration", create(`<?xml version="1.0" encoding="UTF-8"?>`+"\n"+job), 200, "<JobId>")
	bare := strings.Replace(job, ` xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"`, "", 1)
	check("no namespace", create(bare), 200, "<JobId>")
	prefixed := strings.NewReplacer("</", "</c:", "<", "<c:", " xmlns=", " xmlns:c=").Replace(job)
	check("a prefix", create(prefixed), 200, "<JobId>")
	if made, err := control(d.host()).ListJobs(t.Context(), listAll()); err != nil || len(made.Jobs) != 1 {
		t.Errorf("all three were the same request with one token: got %v, %v, want one job", made, err)
	}
}

// createXML is a body of CreateJob made by hand.
func createXML(etag string) string {
	return `<CreateJobRequest xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/">` +
		`<Report><Enabled>false</Enabled></Report><Priority>1</Priority><Description>made by hand</Description>` +
		`<Operation><S3DeleteObjectTagging/></Operation><ClientRequestToken>t</ClientRequestToken>` +
		`<Manifest><Location><ETag>` + etag + `</ETag><ObjectArn>arn:aws:s3:::manifests/manifest.csv</ObjectArn></Location>` +
		`<Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>S3BatchOperations_CSV_20180820</Format></Spec></Manifest>` +
		`<RoleArn>` + role + `</RoleArn></CreateJobRequest>`
}

// TestNoTunnel: whoever takes the API for a proxy gets nowhere with it.
func TestNoTunnel(t *testing.T) {
	t.Parallel()
	d := startDev(t, 0)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.host())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", strings.TrimPrefix(d.s3, "http://"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode < 400 || resp.StatusCode >= 500 {
		t.Errorf("CONNECT: got status %d, want a refusal", resp.StatusCode)
	}
}
