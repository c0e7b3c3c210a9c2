package job

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Job is one record of the job store: the spec and everything that changes.
type Job struct {
	ID      string // lower-case UUID
	Account string // twelve digits
	Region  string // region of the caller's signature; jobs are per account and region
	Spec    Spec

	Priority int32 // higher goes first
	Tags     []Tag `json:",omitzero"`

	Status             Status
	StatusUpdateReason string          `json:",omitzero"` // what the user gave with UpdateJobStatus
	FailureReasons     []FailureReason `json:",omitzero"`
	CreationTime       time.Time
	TerminationDate    *time.Time `json:",omitzero"` // set with a terminal status
	SuspendedDate      *time.Time `json:",omitzero"`
	SuspendedCause     string     `json:",omitzero"`

	// ActiveSince is set while the status is Active; Active sums up the earlier stretches.
	ActiveSince *time.Time    `json:",omitzero"`
	Active      time.Duration `json:",omitzero"`

	// WorkEnded is when its tasks ended, well or not: the date its report bears.
	WorkEnded *time.Time `json:",omitzero"`

	// Generated is the manifest that its generator made; nil until that is done, and
	// without a generator.
	Generated *Generated `json:",omitzero"`
	Plan      *Plan      `json:",omitzero"` // nil until Preparing has ended well
	// Tally is the sum of all outcomes, set with the terminal status when the
	// nodes' own tallies are dropped. While the job runs they are the truth.
	Tally *Tally `json:",omitzero"`
	// ReportDone is set once every object of the completion report is written:
	// from then on its parts may be deleted.
	ReportDone bool `json:",omitzero"`

	// Fingerprint is a digest of the parsed request, by which a repeated client
	// token is told from a reused one.
	Fingerprint string
	// Revision is the store's revision of this record, for compare-and-set.
	Revision int64 `json:"-"`
}

// FailureReason says why a job, not a task, failed.
type FailureReason struct {
	FailureCode   string `json:",omitzero"` // at most 64 characters
	FailureReason string `json:",omitzero"` // at most 256 characters
}

// Fail makes a reason of code and text, cut to what the model allows.
func Fail(code, text string) FailureReason {
	return FailureReason{FailureCode: clip(code, 64), FailureReason: clip(text, 256)}
}

// clip cuts s to at most n characters and puts line breaks out of the way.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s), "?")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-3]) + "..."
}

// ARN is the job's Amazon Resource Name.
func (j *Job) ARN() string { return ARN(j.Region, j.Account, j.ID) }

// ARN is the Amazon Resource Name of a job.
func ARN(region, account, id string) string {
	return "arn:aws:s3:" + region + ":" + account + ":job/" + id
}

// ActiveTime is how long the job has been in Active, as of now.
func (j *Job) ActiveTime(now time.Time) time.Duration {
	if j.ActiveSince == nil {
		return j.Active
	}
	return j.Active + max(0, now.Sub(*j.ActiveSince))
}

// Become moves j to status t at the given time and keeps the dates that hang
// on it. It reports false, changing nothing, if the table forbids the step.
func (j *Job) Become(t Status, now time.Time) bool {
	if !j.Status.CanBecome(t) {
		return false
	}
	now = now.UTC().Truncate(time.Millisecond)
	if j.ActiveSince != nil {
		j.Active = j.ActiveTime(now)
		j.ActiveSince = nil
	}
	switch {
	case t == Active:
		j.ActiveSince = &now
	case (t == Completing || t == Cancelling || t == Failing) && j.WorkEnded == nil:
		j.WorkEnded = &now
	case t == Suspended:
		j.SuspendedDate = &now
		j.SuspendedCause = "AWAITING_CONFIRMATION"
	case t.Terminal():
		j.TerminationDate = &now
	}
	j.Status = t
	return true
}

// Plan is a manifest counted and cut.
type Plan struct {
	Tasks int64 // rows of the manifest: one task each
	Bytes int64 // size of the manifest object
	// Bucket is that of the first row, where what an operation needs of a bucket is
	// looked at before any task runs. Rows may name others.
	Bucket string `json:",omitzero"`
	// ETag and VersionID pin the manifest on every later read. VersionID is
	// empty in buckets without versions.
	ETag      string
	VersionID string `json:",omitzero"`
	// Lenient is whether the manifest was read leniently, and is to be read so again.
	// Leniency says in words what was put up with.
	Lenient  bool   `json:",omitzero"`
	Leniency string `json:",omitzero"`
}

// Generated is a manifest that a generator made: an inventory whose manifest.json
// is this object.
type Generated struct {
	Bucket    string // that of the spool, if the user does not want to have it
	Key       string
	ETag      string
	VersionID string `json:",omitzero"`
	Size      int64  // bytes of the manifest.json
}

// Checkpoint is how far the planning of a job has come. The zero value is the start.
type Checkpoint struct {
	Chunks    int64 // made so far
	Rows      int64 // in them; the row the next chunk starts at
	ChunkRows int64 `json:",omitzero"` // that a chunk is to have; 0 while that is not settled

	File     int    `json:",omitzero"` // of the manifest, counted from 0: where the next chunk starts
	Offset   int64  // in File, just after the last row; see Chunk
	Line     int64  // likewise
	FileETag string `json:",omitzero"` // of File, once it was opened

	Bucket    string // of the first row
	ETag      string // of the manifest object, pinned when planning began
	VersionID string `json:",omitzero"` // likewise; empty in a bucket without versions
	Size      int64  // bytes of the manifest object

	Lenient bool  `json:",omitzero"` // the manifest is read leniently
	Notes   Notes `json:",omitzero"` // in the rows
}

// Notes says what was put up with in a manifest that is read leniently.
type Notes struct {
	Compression string `json:",omitzero"`
	BOM         bool   `json:",omitzero"`
	Header      bool   `json:",omitzero"`
	Keys        int64  `json:",omitzero"` // rows with a key that is not encoded
	Cells       int64  `json:",omitzero"` // rows with spaces around other cells
	Columns     int64  `json:",omitzero"` // rows with empty columns too many
	Pluses      int64  `json:",omitzero"` // rows with a plus in the key
}

// Chunk is a contiguous run of tasks of one file of the manifest, the unit that is
// claimed. Its key in the job store is First; Row, Rows, Offset and Line move on as
// segments are committed.
type Chunk struct {
	First int64  // row number, from 0, of its first task when it was cut
	Row   int64  // next row to do
	Rows  int64  // rows left
	File  int    `json:",omitzero"` // of the manifest, counted from 0
	ETag  string `json:",omitzero"` // of File; empty if that is the manifest object itself
	// Offset is where Row is in File: the byte in its uncompressed text or, in a file
	// of columns, the number of the row in it. End is the same just after the last row.
	Offset int64
	End    int64
	Line   int64 `json:",omitzero"` // line number, from 1, of the line at Offset
}

// Segment is the outcomes of a contiguous run of rows of one chunk, committed
// once. Its key in the job store is Row.
type Segment struct {
	Row       int64
	Rows      int64
	Succeeded int64
	Failed    int64
	// Skipped is how many rows among them were never attempted: the job was called
	// off, or failed, before their turn came. They are counted and reported nowhere.
	Skipped int64  `json:",omitzero"`
	Parts   []Part `json:",omitzero"`
	// ReportError says why the rows could not be written to the report bucket;
	// the outcomes count all the same.
	ReportError string `json:",omitzero"`
}

// Part is an object in the report bucket that holds a segment's rows of one
// status; the completion report is made by joining parts.
type Part struct {
	Failed bool `json:",omitzero"` // rows of failed tasks, else of succeeded ones
	Key    string
	Size   int64
	Rows   int64
	MD5    string // lower-case hex
}

// Tally sums outcomes.
type Tally struct {
	Succeeded int64                `json:",omitzero"`
	Failed    int64                `json:",omitzero"`
	Retried   int64                `json:",omitzero"` // attempts beyond the first of each task
	Codes     map[string]CodeTally `json:",omitzero"` // of failed tasks, by error code; bounded, see Add
}

// CodeTally counts the failures of one error code and keeps a few samples.
type CodeTally struct {
	Count      int64
	HTTPStatus int
	Samples    []string `json:",omitzero"` // bucket/key, at most maxSamples
}

const (
	maxCodes   = 32 // distinct error codes kept; the rest is counted under OtherCodes
	maxSamples = 3
)

// OtherCodes stands in Tally.Codes for the codes beyond the bound.
const OtherCodes = "Other"

// Executed is the number of tasks that have their outcome.
func (t *Tally) Executed() int64 { return t.Succeeded + t.Failed }

// Fail counts a failed task under its code.
func (t *Tally) Fail(code string, httpStatus int, sample string) {
	t.Failed++
	t.addCode(code, CodeTally{Count: 1, HTTPStatus: httpStatus, Samples: []string{sample}})
}

// Add adds u to t.
func (t *Tally) Add(u Tally) {
	t.Succeeded += u.Succeeded
	t.Failed += u.Failed
	t.Retried += u.Retried
	for _, code := range slices.Sorted(maps.Keys(u.Codes)) { // which codes are kept must not hang on chance
		t.addCode(code, u.Codes[code])
	}
}

func (t *Tally) addCode(code string, c CodeTally) {
	if t.Codes == nil {
		t.Codes = map[string]CodeTally{}
	}
	sum, known := t.Codes[code]
	if !known && len(t.Codes) >= maxCodes {
		code = OtherCodes
		sum = t.Codes[code]
	}
	if sum.Count == 0 {
		sum.HTTPStatus = c.HTTPStatus
	}
	sum.Count += c.Count
	for _, s := range c.Samples {
		if len(sum.Samples) < maxSamples {
			sum.Samples = append(slices.Clip(sum.Samples), s)
		}
	}
	t.Codes[code] = sum
}

// ThresholdTasks is the number of executed tasks from which on a job whose
// tasks failed by more than half is failed (states.md section 6).
const ThresholdTasks = 1000

// OverThreshold reports whether so many failures fail the job.
func OverThreshold(succeeded, failed int64) bool {
	executed := succeeded + failed
	return executed >= ThresholdTasks && failed*2 > executed
}

// Outcome is how a task ended.
type Outcome struct {
	Failed     bool
	HTTPStatus int    // of the store's answer; 200 for success
	Code       string // error code, empty for success
	Message    string // what the report shows
	Attempts   int    // calls it took
}

// Codes of FailureReasons; where AWS documents none they are ours (states.md section 7).
const (
	CodeInvalidManifest     = "InvalidManifestContent"
	CodeManifestForbidden   = "ManifestAccessDenied"
	CodeManifestNotFound    = "ManifestNotFound"
	CodeManifestChanged     = "ManifestETagMismatch"
	CodeManifestUnreadable  = "ManifestReadFailed"
	CodeUnsupported         = "NotImplemented"
	CodeReportFailed        = "ReportWriteFailed"
	CodeThreshold           = "FailureThresholdExceeded"
	CodeConfirmationTimeout = "ConfirmationTimeout"
	CodeObjectLock          = "ObjectLockNotEnabled"
	CodeInternal            = "InternalError"
)
