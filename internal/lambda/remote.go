package lambda

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// newTransport returns what all remote functions are called through. There is no
// proxy, as there is none to the object store.
func newTransport() *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
}

// remote sends invocations as HTTP requests.
type remote struct {
	client  *http.Client
	timeout time.Duration
}

func newRemote(transport *http.Transport, timeout time.Duration) remote {
	return remote{
		// A redirect would be an address that is not in the configuration.
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: timeout,
	}
}

// errTimeout is the cause of a call that took longer than its function may.
var errTimeout = errors.New("the function took too long")

// call sends one request. An error that is not an *Error comes from ctx.
func (r *remote) call(ctx context.Context, request func(context.Context) (*http.Request, error)) (Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, errTimeout)
	defer cancel()
	req, err := request(ctx)
	if err != nil {
		return Answer{}, &Error{Status: http.StatusInternalServerError, Code: "InvalidRequest", Message: err.Error(), Temporary: true, Err: err}
	}
	res, err := r.client.Do(req)
	if err != nil {
		return Answer{}, lost(ctx, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxPayload+1))
	if err != nil {
		return Answer{}, lost(ctx, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return Answer{}, refusal(res, body)
	}
	if len(body) > MaxPayload {
		return tooLarge(), nil
	}
	return Answer{Error: res.Header.Get("X-Amz-Function-Error"), Payload: body}, nil
}

// lost makes an error of a call that broke off.
func lost(ctx context.Context, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errTimeout):
		return &Error{Status: http.StatusGatewayTimeout, Code: "GatewayTimeout", Message: errTimeout.Error(), Temporary: true, Err: errTimeout}
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL: what stands in it is the operator's business
	}
	return &Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: err.Error(), Temporary: true, Err: err}
}

// refusal makes an error of an answer that is not the function's.
func refusal(res *http.Response, body []byte) *Error {
	e := &Error{Status: res.StatusCode}
	var said struct {
		Type    string `json:"__type"`
		Message string // also "message": names are matched without regard to case
	}
	_ = json.Unmarshal(body, &said) // what is no JSON has no message
	kind, _, _ := strings.Cut(cmp.Or(res.Header.Get("X-Amzn-Errortype"), said.Type), ":")
	kind = kind[strings.LastIndexByte(kind, '#')+1:]
	e.Code = cmp.Or(kind, strings.ReplaceAll(http.StatusText(res.StatusCode), " ", ""), "Status"+strconv.Itoa(res.StatusCode))
	e.Message = cmp.Or(said.Message, http.StatusText(res.StatusCode))
	switch {
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusRequestTimeout:
		e.Temporary = true
	case res.StatusCode >= 500:
		e.Temporary = res.StatusCode != http.StatusNotImplemented
	}
	if n, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 31); err == nil {
		e.After = time.Duration(n) * time.Second
	}
	return e
}

// invokeAPI is a Lambda Invoke endpoint.
type invokeAPI struct {
	remote
	base        string // without a slash at its end
	region      string
	function    Name // the zero Name: as the job has it
	credentials aws.CredentialsProvider
	own         bool // credentials are the endpoint's own
	signer      *v4.Signer
	now         func() time.Time
}

func newInvokeAPI(f Function, transport *http.Transport, o Options) (*invokeAPI, error) {
	region := cmp.Or(f.Lambda.Region, o.Region, "us-east-1")
	a := &invokeAPI{
		remote: newRemote(transport, f.Timeout),
		base:   strings.TrimRight(cmp.Or(f.Lambda.Endpoint, awsEndpoint(region)), "/"),
		region: region, credentials: o.Credentials, signer: v4.NewSigner(), now: time.Now,
	}
	a.function, _ = ParseName(f.Lambda.Function)
	if f.Lambda.AccessKey != "" {
		a.own = true
		a.credentials = credentials.NewStaticCredentialsProvider(f.Lambda.AccessKey, f.Lambda.SecretKey, f.Lambda.SessionToken)
	}
	if a.credentials == nil {
		return nil, errors.New("lambda: no credentials: set access_key and secret_key")
	}
	return a, nil
}

// awsEndpoint is where AWS serves Lambda in a region.
func awsEndpoint(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "https://lambda." + region + ".amazonaws.com.cn"
	}
	return "https://lambda." + region + ".amazonaws.com"
}

func (a *invokeAPI) invoke(ctx context.Context, name Name, c Call) (Answer, error) {
	return a.call(ctx, func(ctx context.Context) (*http.Request, error) { return a.request(ctx, name, c) })
}

// request is the signed request of one invocation (operations.md section 11).
func (a *invokeAPI) request(ctx context.Context, name Name, c Call) (*http.Request, error) {
	function, query := c.Function, ""
	if a.function.Function != "" {
		// The function has another name there; which version is meant stays the job's to say.
		function = a.function.Function
		if a.function.Account != "" {
			function = a.function.ARN(a.region, "")
		}
		if q := cmp.Or(name.Qualifier, a.function.Qualifier); q != "" {
			query = "?Qualifier=" + url.QueryEscape(q)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		a.base+"/2015-03-31/functions/"+strings.ReplaceAll(url.QueryEscape(function), "+", "%20")+"/invocations"+query, bytes.NewReader(c.Payload))
	if err != nil {
		return nil, fmt.Errorf("compose request: %w", err)
	}
	req.Header.Set("X-Amz-Invocation-Type", "RequestResponse")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "stevedore")
	return req, a.sign(req, c)
}

// sign signs for the service lambda, for which, unlike for S3, the path is
// encoded once more in what is signed.
func (a *invokeAPI) sign(req *http.Request, c Call) error {
	provider := a.credentials
	if c.Credentials != nil && !a.own {
		provider = c.Credentials
	}
	keys, err := provider.Retrieve(req.Context())
	if err != nil {
		return fmt.Errorf("get credentials: %w", err)
	}
	sum := sha256.Sum256(c.Payload)
	if err := a.signer.SignHTTP(req.Context(), keys, req, hex.EncodeToString(sum[:]), "lambda", a.region, a.now()); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}

// webhook is an HTTP endpoint that takes the JSON of an invocation as it is.
type webhook struct {
	remote
	url    string
	header http.Header
}

func newWebhook(f Function, transport *http.Transport) *webhook {
	w := &webhook{remote: newRemote(transport, f.Timeout), url: f.URL, header: http.Header{}}
	w.header.Set("Content-Type", "application/json")
	w.header.Set("User-Agent", "stevedore")
	if f.BearerToken != "" {
		w.header.Set("Authorization", "Bearer "+f.BearerToken)
	}
	for name, value := range f.Headers {
		w.header.Set(name, value)
	}
	return w
}

func (w *webhook) invoke(ctx context.Context, _ Name, c Call) (Answer, error) {
	answer, err := w.call(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(c.Payload))
		if err != nil {
			return nil, fmt.Errorf("compose request: %w", err)
		}
		req.Header = w.header.Clone()
		return req, nil
	})
	if errors.Is(err, errTimeout) {
		// Nothing else bounds such a function: this is its own timeout.
		return failure("Sandbox.Timedout", fmt.Sprintf("Task timed out after %.2f seconds", w.timeout.Seconds())), nil
	}
	return answer, err
}

// failure is the answer that Lambda gives for a function that did not get as far
// as to answer itself.
func failure(kind, message string) Answer {
	payload, _ := json.Marshal(struct { // two strings always can be
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{kind, message})
	return Answer{Error: "Unhandled", Payload: payload}
}

func tooLarge() Answer {
	return failure("Function.ResponseSizeTooLarge",
		fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", MaxPayload))
}
