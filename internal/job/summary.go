package job

import "time"

// Summary is what a list of jobs shows of each, and what the scheduler needs to
// know of all.
type Summary struct {
	Account, Region, ID string
	Description         string
	Operation           OperationName
	Priority            int32
	Status              Status
	CreationTime        time.Time
	SuspendedDate       *time.Time
	TerminationDate     *time.Time
	ActiveSince         *time.Time
	Active              time.Duration
	Options             Options
	Tasks               int64 // 0 until planned
	Succeeded, Failed   int64
}

// Summary is the short form of j, with the counters of its tally.
func (j *Job) Summary() Summary {
	s := Summary{
		Account: j.Account, Region: j.Region, ID: j.ID,
		Description: j.Spec.Description, Operation: j.Spec.Operation.Name(),
		Priority: j.Priority, Status: j.Status,
		CreationTime: j.CreationTime, SuspendedDate: j.SuspendedDate, TerminationDate: j.TerminationDate,
		ActiveSince: j.ActiveSince, Active: j.Active,
	}
	s.Options, _ = OptionsOf(j.Tags) // what cannot be understood was written by a later version
	if j.Plan != nil {
		s.Tasks = j.Plan.Tasks
	}
	if j.Tally != nil {
		s.Succeeded, s.Failed = j.Tally.Succeeded, j.Tally.Failed
	}
	return s
}

// Cursor is a place in the list of jobs, which runs from the newest to the
// oldest and by ID between jobs of one instant.
type Cursor struct {
	CreationTime time.Time
	ID           string
}

// Cursor is the place of s.
func (s *Summary) Cursor() Cursor { return Cursor{s.CreationTime, s.ID} }

// Compare orders cursors as the list does: negative if c comes before d.
func (c Cursor) Compare(d Cursor) int {
	if n := d.CreationTime.Compare(c.CreationTime); n != 0 {
		return n
	}
	switch {
	case c.ID < d.ID:
		return -1
	case c.ID > d.ID:
		return 1
	default:
		return 0
	}
}
