package service

import (
	"fmt"
	"net/http"
)

// routes puts the health checks before the API. They answer without a signature.
// It is no ServeMux: that redirects unclean paths, and a redirected request no
// longer has the path it was signed for.
func (s *Service) routes(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/livez":
			fmt.Fprintln(w, "ok")
		case "/readyz", "/healthz":
			s.ready(w)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// ready says whether calls of the API can be served. The object store is left
// out: an outage there must not take the API away.
func (s *Service) ready(w http.ResponseWriter) {
	switch err := s.store.Ready(); {
	case s.stopping.Load():
		http.Error(w, "[-] stopping", http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, "[-] job store: "+err.Error(), http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "[+] job store ok")
	}
}
