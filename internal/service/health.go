package service

import (
	"fmt"
	"net/http"
)

// routes puts the health checks before the API. They answer without a signature.
func (s *Service) routes(api http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	ready := func(w http.ResponseWriter, _ *http.Request) {
		switch err := s.store.Ready(); {
		case s.stopping.Load():
			http.Error(w, "[-] stopping", http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, "[-] job store: "+err.Error(), http.StatusServiceUnavailable)
		default:
			// The object store is left out: an outage there must not take the API away.
			fmt.Fprintln(w, "[+] job store ok")
		}
	}
	mux.HandleFunc("GET /readyz", ready)
	mux.HandleFunc("GET /healthz", ready)
	mux.Handle("/", api)
	return mux
}
