package service

import "context"

// Abandon ends s as SIGKILL would, as far as that can be had inside a process:
// from its first step on nothing reaches the job store any more, then nothing
// the object store, and only then are goroutines waited for.
func (s *Service) Abandon() {
	s.stopOnce.Do(func() {
		s.stopErr = s.store.Close()
		s.roles.close()
		s.stopWork()
		s.workers.Wait()
		s.server.Close()
		s.serving.Wait()
		s.end(nil)
	})
}

// LoseLease has another node of the same name push this one out.
func (s *Service) LoseLease(ctx context.Context) error {
	_, err := s.store.Join(ctx, nodeName)
	return err
}
