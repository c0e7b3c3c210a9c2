package lambda

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// failedInit is what a program says of a start that failed.
type failedInit struct {
	kind    string
	payload []byte
}

func (f failedInit) answer(id string) Answer {
	if json.Valid(f.payload) {
		return Answer{Error: "Unhandled", Payload: f.payload}
	}
	return failure(f.kind, "RequestId: "+id+" Error: the function could not be initialized")
}

// routes is the Lambda Runtime API, version 2018-06-01: what a custom runtime asks
// for work and gives its answers to.
func (w *worker) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", w.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", w.serveResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", w.serveError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", w.serveInitError)
	return mux
}

// serveNext waits for an invocation and hands it out.
func (w *worker) serveNext(rw http.ResponseWriter, r *http.Request) {
	if inv := w.settle(""); inv != nil {
		inv.answer <- failure("Runtime.NoResponse", "RequestId: "+inv.id+" Error: the runtime asked for the next invocation before it answered this one")
	}
	var inv *invocation
	select {
	case inv = <-w.work:
	case <-r.Context().Done(): // the process has ended
		return
	}
	w.mu.Lock()
	w.current = inv
	w.mu.Unlock()
	h := rw.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(inv.payload)))
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(w.local.config.Timeout).UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", inv.function)
	_, _ = rw.Write(inv.payload) // if it does not arrive, the process has ended or runs into its timeout
}

// settle takes the invocation id from those without an answer, or whichever there
// is if id is empty. nil: there is none.
func (w *worker) settle(id string) *invocation {
	w.mu.Lock()
	defer w.mu.Unlock()
	inv := w.current
	if inv == nil || id != "" && inv.id != id {
		return nil
	}
	w.current = nil
	return inv
}

func (w *worker) serveResponse(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, MaxPayload))
	_, large := errors.AsType[*http.MaxBytesError](err)
	if err != nil && !large {
		return // the process has ended, or it will ask for the next one
	}
	inv := w.settle(r.PathValue("id"))
	switch {
	case inv == nil:
		refuse(rw, http.StatusBadRequest, "InvalidRequestID", "There is no such invocation, or it was answered already")
		return
	case large:
		inv.answer <- tooLarge()
		refuse(rw, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The answer is too large")
		return
	}
	// A runtime that streams tells of a late failure in trailers.
	if kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); kind != "" {
		inv.answer <- failure(kind, "RequestId: "+inv.id+" Error: the function failed after it had begun to answer")
	} else {
		inv.answer <- Answer{Payload: body}
	}
	accept(rw)
}

func (w *worker) serveError(rw http.ResponseWriter, r *http.Request) {
	failed, ok := readFailure(rw, r)
	if !ok {
		return
	}
	inv := w.settle(r.PathValue("id"))
	if inv == nil {
		refuse(rw, http.StatusBadRequest, "InvalidRequestID", "There is no such invocation, or it was answered already")
		return
	}
	if json.Valid(failed.payload) {
		inv.answer <- Answer{Error: "Unhandled", Payload: failed.payload}
	} else {
		inv.answer <- failure(failed.kind, "RequestId: "+inv.id+" Error: the function failed and did not say how")
	}
	accept(rw)
}

func (w *worker) serveInitError(rw http.ResponseWriter, r *http.Request) {
	failed, ok := readFailure(rw, r)
	if !ok {
		return
	}
	select {
	case w.failed <- failed:
	default: // it has said so before
	}
	accept(rw)
}

// readFailure reads what a runtime says of a failure; false if it did not get that far.
func readFailure(rw http.ResponseWriter, r *http.Request) (failedInit, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, MaxPayload))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		body, err = nil, nil
	}
	kind := r.Header.Get("Lambda-Runtime-Function-Error-Type")
	if kind == "" {
		kind = "Runtime.Unknown"
	}
	return failedInit{kind, body}, err == nil
}

func accept(rw http.ResponseWriter) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(rw, `{"status":"OK"}`)
}

func refuse(rw http.ResponseWriter, status int, kind, message string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_, _ = rw.Write(failure(kind, message).Payload)
}
