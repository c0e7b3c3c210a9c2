package gunzip_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	fastflate "github.com/klauspost/compress/flate"

	"stevedore/internal/manifest/gunzip"
)

// most is the longest text that is looked at: small files may hold very long ones.
const most = 4 << 20

// stdGunzip reads a file member by member with the standard library, up to padding of zeros.
func stdGunzip(file []byte) ([]byte, error) {
	r := bytes.NewReader(file)
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	var text []byte
	for {
		z.Multistream(false)
		part, err := io.ReadAll(io.LimitReader(z, most-int64(len(text))))
		text = append(text, part...)
		if err != nil || len(text) == most {
			return text, err
		}
		rest := file[len(file)-r.Len():]
		if len(bytes.Trim(rest, "\x00")) == 0 {
			return text, nil
		}
		if err := z.Reset(r); err != nil {
			return text, err
		}
	}
}

// FuzzReader compares with the standard library what whole files hold.
func FuzzReader(f *testing.F) {
	hello := packed(f, []byte("hello, hello, hello\n"), 6)
	f.Add(hello)
	f.Add(packed(f, []byte("stored"), 0))
	f.Add(append(bytes.Repeat(hello, 3), 0, 0, 0))
	f.Add(append(bytes.Clone(hello), "garbage"...))
	f.Add(packed(f, inventory(20, true), 9))
	f.Add([]byte("\x1f\x8b\x08\x1e\x00\x00\x00\x00\x00\xff\x02\x00ab\x00c\x00\x12\x34\x03\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		want, wantErr := stdGunzip(file)
		if len(want) == most {
			t.Skip("too long")
		}
		got, err := io.ReadAll(io.LimitReader(gunzip.NewReader(bytes.NewReader(file)), most))
		if bad, ok := errors.AsType[*gunzip.Error](err); ok && bad.Reason == "unknown header flags set" {
			return // the standard library does not mind
		}
		if wantErr != nil && err == nil && errors.Is(wantErr, gzip.ErrHeader) && len(file) > 512 {
			return // a name too long for the standard library
		}
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, error %v, want %d, %v", len(got), err, len(want), wantErr)
		}
		checkError(t, err)
		again, err2 := io.ReadAll(io.LimitReader(gunzip.NewReader(iotest.OneByteReader(bytes.NewReader(file))), most))
		if !bytes.Equal(again, got) || (err2 == nil) != (err == nil) || err != nil && err2.Error() != err.Error() {
			t.Fatalf("byte by byte %d bytes, error %v, want %d, %v", len(again), err2, len(got), err)
		}
	})
}

// checkError allows the errors a Reader has for what is in the file.
func checkError(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*gunzip.Error](err); err != nil && !ok && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error %v", err)
	}
}

// FuzzDeflate compares deflate data with the standard library, free from checksums that hardly any
// change survives, and resumes what is good at every point.
func FuzzDeflate(f *testing.F) {
	for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, 6} {
		file := packed(f, inventory(20, true), level)
		f.Add(file[10 : len(file)-8])
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		var w bitWriter
		text := w.block(random, 0, nil)
		w.block(random, 1, text)
		f.Add(w.data)
	}
	f.Add([]byte{3, 0})
	f.Add([]byte{0, 1, 0, 0xfe, 0xff, 'a', 3, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		r := bytes.NewReader(body)
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(r), most))
		if len(want) == most {
			t.Skip("too long")
		}
		if wantErr == nil {
			file := member(body[:len(body)-r.Len()], want)
			got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(file)))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes, error %v, want %d", len(got), err, len(want))
			}
			if len(want) < 64<<10 {
				checkPoints(t, file, want, int64(len(want)/8+1))
			}
			return
		}
		got, err := io.ReadAll(io.LimitReader(gunzip.NewReader(bytes.NewReader(member(body, nil)[:10+len(body)])), most))
		if err == nil || strings.Contains(err.Error(), "check") {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
		checkError(t, err)
		if !bytes.HasPrefix(want, got) && !bytes.HasPrefix(got, want) {
			t.Fatalf("before error %v: other bytes than the standard library", err)
		}
	})
}

// FuzzResume compresses texts with flushes, in members, and resumes at every point.
func FuzzResume(f *testing.F) {
	f.Add([]byte("bucket,key\n"), uint16(1000), uint64(1), uint16(100))
	f.Add([]byte{0}, uint16(60000), uint64(2), uint16(5000))
	f.Add(inventory(10, true), uint16(200), uint64(3), uint16(1))
	f.Fuzz(func(t *testing.T, seed []byte, repeat uint16, choice uint64, every uint16) {
		random := rand.New(rand.NewPCG(choice, 0))
		var text []byte
		for range int(repeat) {
			if len(text)+len(seed) > 100<<10 {
				break
			}
			text = append(text, seed...)
			if random.IntN(4) == 0 {
				text = append(text, byte(random.Uint32()), byte(random.Uint32()))
			}
		}
		var file []byte
		for left := text; ; {
			part := left[:random.IntN(len(left)+1)]
			if random.IntN(3) == 0 {
				part = left
			}
			left = left[len(part):]
			var body bytes.Buffer
			w, err := fastflate.NewWriter(&body, random.IntN(12)-2)
			if err != nil {
				t.Fatal(err)
			}
			for rest := part; len(rest) > 0; {
				n := random.IntN(min(len(rest), 20_000) + 1)
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				if random.IntN(2) == 0 {
					if err := w.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			file = append(file, member(body.Bytes(), part)...)
			if len(left) == 0 {
				break
			}
		}
		got, made := points(t, file, gunzip.Point{}, max(int64(every), 1))
		if !bytes.Equal(got, text) {
			t.Fatalf("got %d bytes of %d", len(got), len(text))
		}
		if len(made) < 8 {
			checkPoints(t, file, text, max(int64(every), 1))
			return
		}
		p := made[random.IntN(len(made))]
		if tail, _ := points(t, file, p, int64(len(text)+1)); !bytes.Equal(tail, text[p.Out:]) {
			t.Fatalf("from %+v: got %d bytes, want %d", p, len(tail), int64(len(text))-p.Out)
		}
	})
}
