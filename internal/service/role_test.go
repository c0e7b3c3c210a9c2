package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/aws/smithy-go"

	s3test "stevedore/internal/objectstore/objectstoretest"
	"stevedore/internal/operation"
	"stevedore/internal/service"
)

// two is a service over two stores, with one access key for each of two accounts.
type two struct {
	world
	near, far *s3test.Server // the default store, and the one named far
}

const other = "210987654321"

func role(name string) string { return "arn:aws:iam::" + account + ":role/" + name }

// startTwo starts a service as configure says, with buckets data and reports in
// the far store and manifests and data in the near one.
func startTwo(t *testing.T, configure func(*two)) *two {
	t.Helper()
	w := &two{
		near: s3test.Start(t, s3test.Config{AccessKey: "near", Secret: "near-secret"}),
		far:  s3test.Start(t, s3test.Config{AccessKey: "far", Secret: "far-secret"}),
	}
	w.near.CreateBucket("data", "manifests", "reports")
	w.far.CreateBucket("data", "manifests", "reports")
	w.config = service.Config{
		Listen: "127.0.0.1:0", DataDir: t.TempDir(), SegmentInterval: 20 * time.Millisecond,
		Keys: []service.Key{
			{AccessKey: "key", SecretKey: "secret", Account: account},
			{AccessKey: "other", SecretKey: "other-secret", Account: other},
			{AccessKey: "second", SecretKey: "second-secret", Account: account},
		},
		Store: service.Store{Endpoint: w.near.URL(), AccessKey: "near", SecretKey: "near-secret"},
		Stores: map[string]service.Store{"far": {Endpoint: w.far.URL(), Credentials: &service.Credentials{
			Static: &service.StaticCredentials{AccessKey: "far", SecretKey: "far-secret"},
		}}},
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	configure(w)
	w.restart(t)
	t.Cleanup(func() { w.service.Stop(context.Background()) })
	return w
}

// as is a client with another key pair.
func (w *two) as(t *testing.T, key, secret string) *s3control.Client {
	t.Helper()
	u, err := url.Parse(w.service.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	return s3control.New(s3control.Options{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""), EndpointResolverV2: fixed{*u},
	})
}

// create creates a job that tags what m.csv in store names.
func (w *two) create(t *testing.T, client *s3control.Client, of, roleARN string, manifest *s3test.Server) (string, error) {
	t.Helper()
	return w.createOf(t, client, of, roleARN, manifest, "data,k\n")
}

func (w *two) createOf(t *testing.T, client *s3control.Client, of, roleARN string, manifest *s3test.Server, rows string) (string, error) {
	t.Helper()
	m := manifest.Put("manifests", "m.csv", rows)
	out, err := client.CreateJob(t.Context(), &s3control.CreateJobInput{
		AccountId: &of, Priority: aws.Int32(10), RoleArn: &roleARN, ConfirmationRequired: aws.Bool(false),
		Operation: &types.JobOperation{S3PutObjectTagging: &types.S3SetObjectTaggingOperation{TagSet: []types.S3Tag{{Key: aws.String("by"), Value: aws.String("us")}}}},
		Manifest: &types.JobManifest{
			Spec:     &types.JobManifestSpec{Format: types.JobManifestFormatS3BatchOperationsCsv20180820, Fields: []types.JobManifestFieldName{"Bucket", "Key"}},
			Location: &types.JobManifestLocation{ObjectArn: aws.String("arn:aws:s3:::manifests/m.csv"), ETag: &m.ETag},
		},
		Report: &types.JobReport{Enabled: true, Bucket: aws.String("arn:aws:s3:::reports"), Format: types.JobReportFormatReportCsv20180820, ReportScope: types.JobReportScopeAllTasks},
	})
	if err != nil {
		return "", err
	}
	return *out.JobId, nil
}

// done runs a job to its end and fails unless its one task succeeded.
func (w *two) done(t *testing.T, client *s3control.Client, of, roleARN string, manifest *s3test.Server) (id string) {
	t.Helper()
	id, err := w.create(t, client, of, roleARN, manifest)
	if err != nil {
		t.Fatal(err)
	}
	w.control = client
	for {
		out, err := client.DescribeJob(t.Context(), &s3control.DescribeJobInput{AccountId: &of, JobId: &id})
		if err != nil {
			t.Fatal(err)
		}
		switch out.Job.Status {
		case types.JobStatusComplete:
			if n := *out.Job.ProgressSummary.NumberOfTasksSucceeded; n != 1 {
				t.Errorf("role %s: %d tasks succeeded, want 1", roleARN, n)
			}
			return id
		case types.JobStatusFailed, types.JobStatusCancelled:
			t.Fatalf("role %s: job ended %s: %s", roleARN, out.Job.Status, *out.Job.FailureReasons[0].FailureReason)
		default:
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tagged reports whether the object k of a store was tagged.
func tagged(s *s3test.Server) bool {
	o, _ := s.Object("data", "k")
	return o.Tags["by"] == "us"
}

func reported(s *s3test.Server, id string) bool {
	return slices.ContainsFunc(s.Keys("reports"), func(key string) bool { return strings.HasSuffix(key, "job-"+id+"/manifest.json") })
}

func TestARoleDecidesTheStore(t *testing.T) {
	t.Parallel()
	w := startTwo(t, func(w *two) {
		w.config.Roles = []service.Role{
			{ARN: role("team-*")},
			{ARN: role("team-far"), Store: "far"},
			{ARN: "arn:aws:iam::" + other + ":role/*", Store: "far", Buckets: map[string]string{"report*": "default"}},
		}
	})
	check := func(key, of, role string, manifest, report *s3test.Server) {
		t.Helper()
		for _, s := range []*s3test.Server{w.near, w.far} {
			s.Put("data", "k", "x")
		}
		id := w.done(t, w.as(t, key, key+"-secret"), of, role, manifest)
		if near, far := tagged(w.near), tagged(w.far); near != (manifest == w.near) || far != (manifest == w.far) {
			t.Errorf("role %s: tagged near %t and far %t", role, near, far)
		}
		if near, far := reported(w.near, id), reported(w.far, id); near != (report == w.near) || far != (report == w.far) {
			t.Errorf("role %s: reported near %t and far %t", role, near, far)
		}
	}
	check("second", account, role("team-near"), w.near, w.near)
	check("second", account, role("team-far"), w.far, w.far) // the longer one counts
	check("second", account, role("team-far-off"), w.near, w.near)
	check("other", other, "arn:aws:iam::"+other+":role/any", w.far, w.near)
}

// TestARoleReplicatesByTheConfiguration has a store that keeps no replication
// configuration of its own.
func TestARoleReplicatesByTheConfiguration(t *testing.T) {
	t.Parallel()
	w := startTwo(t, func(w *two) {
		w.near.CreateBucket("copies")
		w.near.Put("data", "in/k", "bytes")
		w.near.Put("data", "out/k", "bytes")
		w.near.SetVersioning("data", "Enabled")
		w.near.SetVersioning("copies", "Enabled")
		w.near.Fault(s3test.Match{Op: "GetBucketReplication"}, s3test.Status(501, "NotImplemented"))
		w.config.Roles = []service.Role{{ARN: role("replicator"), Replication: map[string]operation.ReplicationConfig{"data": {Rules: []operation.ReplicationRule{{
			Status: "Enabled", Prefix: "in/", Destination: operation.ReplicationDestination{Bucket: "arn:aws:s3:::copies"},
		}}}}}}
	})
	m := w.near.Put("manifests", "m.csv", "data,in/k,null\ndata,out/k,null\n")
	client := w.as(t, "key", "secret")
	out, err := client.CreateJob(t.Context(), &s3control.CreateJobInput{
		AccountId: aws.String(account), Priority: aws.Int32(1), RoleArn: aws.String(role("replicator")), ConfirmationRequired: aws.Bool(false),
		Operation: &types.JobOperation{S3ReplicateObject: &types.S3ReplicateObjectOperation{}},
		Manifest: &types.JobManifest{
			Spec:     &types.JobManifestSpec{Format: types.JobManifestFormatS3BatchOperationsCsv20180820, Fields: []types.JobManifestFieldName{"Bucket", "Key", "VersionId"}},
			Location: &types.JobManifestLocation{ObjectArn: aws.String("arn:aws:s3:::manifests/m.csv"), ETag: &m.ETag},
		},
		Report: &types.JobReport{Enabled: false},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.control = client
	j := w.wait(t, *out.JobId, types.JobStatusComplete)
	if p := j.ProgressSummary; *p.NumberOfTasksSucceeded != 1 || *p.NumberOfTasksFailed != 1 {
		t.Errorf("%d succeeded and %d failed; one of the two keys has a rule", *p.NumberOfTasksSucceeded, *p.NumberOfTasksFailed)
	}
	if o, ok := w.near.Object("copies", "in/k"); !ok || string(o.Body) != "bytes" {
		t.Errorf("copy: %+v, %t", o, ok)
	}
	if _, ok := w.near.Object("copies", "out/k"); ok {
		t.Error("an object without a rule was copied")
	}
}

func TestBucketsDecideTheStoreWithoutRoles(t *testing.T) {
	t.Parallel()
	w := startTwo(t, func(w *two) { w.config.Buckets = map[string]string{"da*": "far", "data-near": "default"} })
	w.near.Put("data", "k", "x")
	w.far.Put("data", "k", "x")
	id := w.done(t, w.control, account, role("any"), w.near)
	if tagged(w.near) || !tagged(w.far) || !reported(w.near, id) {
		t.Errorf("tagged near %t, far %t; reported near %t", tagged(w.near), tagged(w.far), reported(w.near, id))
	}
}

// A role with credentials of its own is never served with those of a store.
func TestTheCredentialsOfARoleAskEveryStore(t *testing.T) {
	t.Parallel()
	w := startTwo(t, func(w *two) {
		w.config.Buckets = map[string]string{"data": "far"}
		w.config.Roles = []service.Role{
			{ARN: role("weak"), Credentials: &service.Credentials{Static: &service.StaticCredentials{AccessKey: "near", SecretKey: "near-secret"}}},
		}
	})
	w.far.Put("data", "k", "x")
	id, err := w.create(t, w.control, account, role("weak"), w.near)
	if err != nil {
		t.Fatal(err)
	}
	if p := w.wait(t, id, types.JobStatusComplete).ProgressSummary; *p.NumberOfTasksFailed != 1 || tagged(w.far) {
		t.Errorf("failed %d, tagged %t: the role has the store's credentials", *p.NumberOfTasksFailed, tagged(w.far))
	}
}

func TestRefusedRoles(t *testing.T) {
	t.Parallel()
	w := startTwo(t, func(w *two) {
		w.config.Roles = []service.Role{
			{ARN: role("open")},
			{ARN: role("closed"), Callers: []string{"second"}},
			{ARN: "arn:aws:iam::" + other + ":role/theirs"},
		}
	})
	w.near.Put("data", "k", "x")
	check := func(key, roleARN, want string) {
		t.Helper()
		_, err := w.create(t, w.as(t, key, map[string]string{"key": "secret"}[key]+map[string]string{"second": "second-secret"}[key]), account, roleARN, w.near)
		if want == "" {
			if err != nil {
				t.Errorf("%s passes %s: %v", key, roleARN, err)
			}
			return
		}
		answer, _ := errors.AsType[smithy.APIError](err)
		if answer == nil || answer.ErrorCode() != "AccessDenied" || !strings.Contains(answer.ErrorMessage(), want) {
			t.Errorf("%s passes %s: got %v, want AccessDenied with %q", key, roleARN, err, want)
		}
	}
	check("key", role("open"), "")
	check("second", role("open"), "")
	check("second", role("closed"), "")
	check("key", role("closed"), "iam:PassRole on resource "+role("closed"))
	check("key", role("unknown"), "iam:PassRole on resource "+role("unknown"))
	check("key", role("open2"), "iam:PassRole")
	check("key", role("ope"), "iam:PassRole")
	check("key", "arn:aws:iam::"+other+":role/theirs", "Cross-account pass role is not allowed")
}

// A request whose signature does not hold gets no further for naming the key of
// somebody who may pass the role.
func TestCallersCannotBeForged(t *testing.T) {
	t.Parallel()
	w := startTwo(t, func(w *two) { w.config.Roles = []service.Role{{ARN: role("closed"), Callers: []string{"second"}}} })
	for key, secret := range map[string]string{"second": "secret", "none": "x"} {
		_, err := w.create(t, w.as(t, key, secret), account, role("closed"), w.near)
		if answer, _ := errors.AsType[smithy.APIError](err); answer == nil || answer.ErrorCode() == "AccessDenied" {
			t.Errorf("%s with a wrong secret: %v, want an error of the signature", key, err)
		}
	}
	list, err := w.control.ListJobs(t.Context(), &s3control.ListJobsInput{AccountId: aws.String(account)})
	if err != nil || len(list.Jobs) > 0 {
		t.Errorf("jobs %v, %v", list, err)
	}
}

func TestARoleTakenOutOfTheConfigurationFailsItsJobs(t *testing.T) {
	t.Parallel()
	w := startTwo(t, func(w *two) { w.config.Roles = []service.Role{{ARN: role("here")}, {ARN: role("gone")}} })
	w.near.Put("data", "k", "x")
	gate := s3test.NewGate()
	w.near.Fault(s3test.Match{Op: "PutObjectTagging", Times: 1}, s3test.Block(gate))
	id, err := w.create(t, w.control, account, role("gone"), w.near)
	if err != nil {
		t.Fatal(err)
	}
	<-gate.Arrived()
	w.service.Abandon()
	gate.Open()
	w.service = nil
	w.config.Roles = w.config.Roles[:1]
	w.restart(t)
	j := w.wait(t, id, types.JobStatusFailed)
	if len(j.FailureReasons) != 1 || *j.FailureReasons[0].FailureCode != "RoleNotFound" || !strings.Contains(*j.FailureReasons[0].FailureReason, role("gone")) {
		t.Errorf("failure reasons %+v", j.FailureReasons)
	}
}

// sts hands out credentials as AWS's service does.
type sts struct {
	*httptest.Server
	pair    atomic.Pointer[string] // the access key it hands out; its secret and token follow from that
	calls   atomic.Int64
	refused atomic.Int64
}

// startSTS starts a service that gives the key pair "temporary" to whoever asks
// right for the role "target": with the token "jwt", or signed by "source".
//
// A pair named x has the secret x-secret and the token x-token.
func startSTS(t *testing.T) *sts {
	t.Helper()
	s := &sts{}
	s.pair.Store(new("temporary"))
	s.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		action := r.FormValue("Action")
		signed := strings.Contains(r.Header.Get("Authorization"), "Credential=source/")
		ok := r.FormValue("RoleArn") == role("target") && (action == "AssumeRole" && signed && r.FormValue("ExternalId") == "ext" ||
			action == "AssumeRoleWithWebIdentity" && r.Header.Get("Authorization") == "" && r.FormValue("WebIdentityToken") == "jwt")
		if !ok {
			s.refused.Add(1)
			rw.WriteHeader(http.StatusForbidden)
			fmt.Fprint(rw, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>`)
			return
		}
		fmt.Fprintf(rw, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials><AccessKeyId>%[3]s</AccessKeyId><SecretAccessKey>%[3]s-secret</SecretAccessKey><SessionToken>%[3]s-token</SessionToken><Expiration>%[2]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
			action, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), *s.pair.Load())
	}))
	t.Cleanup(s.Close)
	return s
}

func TestCredentialsFromEverywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	secret := write("secret", "near-secret\n")
	shared := write("credentials", "[near]\naws_access_key_id = near\naws_secret_access_key = near-secret\n")
	token := write("token", "jwt")
	issuer := startSTS(t)
	source := &service.Credentials{Static: &service.StaticCredentials{AccessKey: "source", SecretKey: "any"}}
	assume := func(source *service.Credentials) *service.Credentials {
		return &service.Credentials{AssumeRole: &service.AssumeRole{RoleARN: role("target"), ExternalID: "ext", STSEndpoint: issuer.URL, Source: source}}
	}
	temporary := s3test.Start(t, s3test.Config{AccessKey: "temporary", Secret: "temporary-secret", SessionToken: "temporary-token"})
	temporary.CreateBucket("data", "manifests", "reports")
	w := startTwo(t, func(w *two) {
		near := func(c *service.Credentials) service.Store {
			return service.Store{Endpoint: w.near.URL(), Credentials: c}
		}
		maps.Copy(w.config.Stores, map[string]service.Store{
			"secret-file": near(&service.Credentials{Static: &service.StaticCredentials{AccessKey: "near", SecretKeyFile: secret}}),
			"file":        near(&service.Credentials{File: &service.FileCredentials{Path: shared, Profile: "near"}}),
			"assume":      {Endpoint: temporary.URL(), Credentials: assume(source)},
			"source":      {Endpoint: temporary.URL(), Credentials: source},
			"web": {Endpoint: temporary.URL(), Credentials: &service.Credentials{WebIdentity: &service.WebIdentity{
				RoleARN: role("target"), TokenFile: token, STSEndpoint: issuer.URL,
			}}},
		})
		w.config.Keys[2] = service.Key{AccessKey: "second", SecretKeyFile: write("second", "second-secret"), Account: account}
		w.config.Roles = []service.Role{
			{ARN: role("secret-file"), Store: "secret-file"},
			{ARN: role("file"), Store: "file"},
			{ARN: role("assume"), Store: "assume"},
			{ARN: role("assume-from-store"), Store: "source", Credentials: assume(nil)},
			{ARN: role("web"), Store: "web"},
		}
	})
	for i, r := range w.config.Roles {
		at := w.near
		if i >= 2 {
			at = temporary
		}
		at.Put("data", "k", "x")
		w.done(t, w.as(t, "second", "second-secret"), account, r.ARN, at)
		if !tagged(at) {
			t.Errorf("%s: the object has no tags", r.ARN)
		}
	}
	if calls, refused := issuer.calls.Load(), issuer.refused.Load(); calls != 3 || refused != 0 {
		t.Errorf("%d calls for credentials, %d refused; want one for each of three", calls, refused)
	}
}

// The keys of a role are taken back in the middle of a job, long before they expire.
func TestCredentialsAreRenewedWhileAJobRuns(t *testing.T) {
	t.Parallel()
	issuer := startSTS(t)
	temporary := s3test.Start(t, s3test.Config{AccessKey: "temporary", Secret: "temporary-secret", SessionToken: "temporary-token"})
	temporary.CreateBucket("data", "manifests", "reports")
	w := startTwo(t, func(w *two) {
		w.config.Store = service.Store{Endpoint: temporary.URL(), MaxConcurrency: 4}
		w.config.Roles = []service.Role{{ARN: role("r"), Credentials: &service.Credentials{AssumeRole: &service.AssumeRole{
			RoleARN: role("target"), ExternalID: "ext", STSEndpoint: issuer.URL,
			Source: &service.Credentials{Static: &service.StaticCredentials{AccessKey: "source", SecretKey: "any"}},
		}}}}
	})
	var manifest strings.Builder
	for i := range 100 {
		key := fmt.Sprintf("k%d", i)
		temporary.Put("data", key, "x")
		fmt.Fprintf(&manifest, "data,%s\n", key)
	}
	gate := s3test.NewGate()
	temporary.Fault(s3test.Match{Op: "PutObjectTagging", Skip: 30, Times: 1}, s3test.Block(gate))
	id, err := w.createOf(t, w.control, account, role("r"), temporary, manifest.String())
	if err != nil {
		t.Fatal(err)
	}
	<-gate.Arrived()
	issuer.pair.Store(new("fresh"))
	temporary.Rotate("fresh", "fresh-secret", "fresh-token")
	gate.Open()
	if p := w.wait(t, id, types.JobStatusComplete).ProgressSummary; *p.NumberOfTasksSucceeded != 100 {
		t.Errorf("%d tasks of 100 succeeded", *p.NumberOfTasksSucceeded)
	}
	if !reported(temporary, id) || issuer.refused.Load() > 0 {
		t.Errorf("reported %t, %d times refused", reported(temporary, id), issuer.refused.Load())
	}
}

func TestAStoreIsTrustedByItsCAFile(t *testing.T) {
	t.Parallel()
	secure := s3test.Start(t, s3test.Config{AccessKey: "near", Secret: "near-secret", TLS: true})
	secure.CreateBucket("data", "manifests", "reports")
	secure.Put("data", "k", "x")
	w := startTwo(t, func(w *two) {
		w.config.Stores["secure"] = service.Store{
			Endpoint: secure.URL(), AccessKey: "near", SecretKey: "near-secret", CAFile: certificate(t, t.TempDir()),
		}
		w.config.Roles = []service.Role{{ARN: role("r"), Store: "secure"}}
	})
	w.done(t, w.control, account, role("r"), secure)
	if !tagged(secure) {
		t.Error("the object has no tags")
	}
}

// A limit that makes no sense is refused: a job without it would do harm.
func TestWrongReplicationIsRefused(t *testing.T) {
	t.Parallel()
	_, err := load(t, "roles: [{arn: 'arn:aws:iam::123456789012:role/r', replication: {b: {rules: [{status: On, destination: {bucket: b}}]}}}]\n")
	for _, want := range []string{"roles[0].replication.b.rules[0].status", "roles[0].replication.b.rules[0].destination.bucket"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
}

func TestWrongLimitsAreRefused(t *testing.T) {
	t.Parallel()
	w := startTwo(t, func(*two) {})
	w.near.Put("data", "k", "x")
	id := w.done(t, w.control, account, role("any"), w.near)
	check := func(key, value, want string) {
		t.Helper()
		_, err := w.control.PutJobTagging(t.Context(), &s3control.PutJobTaggingInput{
			AccountId: aws.String(account), JobId: &id, Tags: []types.S3Tag{{Key: &key, Value: &value}},
		})
		answer, _ := errors.AsType[smithy.APIError](err)
		if err == nil && want != "" || err != nil && (answer == nil || answer.ErrorCode() != want) {
			t.Errorf("%s=%s: got %v, want %q", key, value, err, want)
		}
	}
	check("stevedore:max-concurrency", "none", "InvalidTag")
	check("stevedore:max-requests-per-second", "0", "InvalidTag")
	check("stevedore:max-requests", "5", "InvalidTag")
	check("stevedore:max-requests-per-second", "0.5", "")
}
