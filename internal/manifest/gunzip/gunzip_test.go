package gunzip_test

import (
	"bytes"
	"compress/flate"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	fastflate "github.com/klauspost/compress/flate"

	"stevedore/internal/manifest/gunzip"
)

// member wraps deflate data in a plain header and the trailer of its text.
func member(deflated, text []byte) []byte {
	file := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), deflated...)
	file = binary.LittleEndian.AppendUint32(file, crc32.ChecksumIEEE(text))
	return binary.LittleEndian.AppendUint32(file, uint32(len(text)))
}

// texts are worth compressing in all ways.
func texts() map[string][]byte {
	random := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 200<<10)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	// Symbols as rare as each can be give the longest codes there are.
	var fibonacci []byte
	for i, a, b := 0, 1, 1; i < 22; i, a, b = i+1, b, a+b {
		fibonacci = append(fibonacci, bytes.Repeat([]byte{byte(i)}, a)...)
	}
	random.Shuffle(len(fibonacci), func(i, j int) { fibonacci[i], fibonacci[j] = fibonacci[j], fibonacci[i] })
	return map[string][]byte{
		"empty":     nil,
		"one":       []byte("a"),
		"short":     []byte("hello, hello, hello"),
		"zeros":     make([]byte, 500<<10),
		"period 3":  bytes.Repeat([]byte("abc"), 100_000),
		"period 15": bytes.Repeat([]byte("0123456789abcde"), 20_000),
		"period 17": bytes.Repeat([]byte("0123456789abcdefg"), 20_000),
		"far":       bytes.Repeat(noise[:window-1], 4),
		"noise":     noise,
		"fibonacci": fibonacci,
		"easy rows": inventory(1500, false),
		"hard rows": inventory(1500, true),
	}
}

const window = 32 << 10

// deflated compresses text in many ways.
func deflated(t *testing.T, text []byte) map[string][]byte {
	t.Helper()
	ways := map[string][]byte{}
	write := func(name string, open func(w io.Writer) (io.WriteCloser, error)) {
		t.Helper()
		var body bytes.Buffer
		w, err := open(&body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		ways[name] = body.Bytes()
	}
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		write("std "+string(rune('c'+level)), func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, level) })
		write("klauspost "+string(rune('c'+level)), func(w io.Writer) (io.WriteCloser, error) { return fastflate.NewWriter(w, level) })
	}
	write("stateless", func(w io.Writer) (io.WriteCloser, error) { return fastflate.NewStatelessWriter(w), nil })
	return ways
}

func TestReader(t *testing.T) {
	t.Parallel()
	for name, text := range texts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for way, body := range deflated(t, text) {
				got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(member(body, text))))
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s: got %d bytes of %d, error %v", way, len(got), len(text), err)
				}
				checkPoints(t, member(body, text), text, 80_000)
			}
		})
	}
}

func TestReaderOfSmallReads(t *testing.T) {
	t.Parallel()
	text := inventory(3000, false)
	file := packed(t, text, 6)
	for name, r := range map[string]io.Reader{
		"bytes":         iotest.OneByteReader(bytes.NewReader(file)),
		"halves":        iotest.HalfReader(bytes.NewReader(file)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(file)),
	} {
		z := gunzip.NewReader(r)
		if err := iotest.TestReader(z, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if z.Offset() != int64(len(text)) {
			t.Errorf("%s: ends at %d, want %d", name, z.Offset(), len(text))
		}
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	a, b := packed(t, []byte("first\n"), 6), packed(t, []byte("second\n"), 0)
	empty := packed(t, nil, 6)
	zeros := make([]byte, 600)
	check := func(want string, parts ...[]byte) {
		t.Helper()
		got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(slices.Concat(parts...))))
		if err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	check("", empty)
	check("first\n", a)
	check("first\nsecond\n", a, b)
	check("first\nsecond\nfirst\n", empty, a, empty, b, a, empty)
	check("first\n", a, zeros)
	check("first\n", a, zeros[:1])

	refuse := func(at int64, parts ...[]byte) {
		t.Helper()
		got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(slices.Concat(parts...))))
		bad, ok := errors.AsType[*gunzip.Error](err)
		if !ok || string(got) != "first\n" || bad.In != at || bad.Reason != "garbage after the end of the gzip data" {
			t.Errorf("got %q, %v, want garbage at byte %d", got, err, at)
		}
	}
	end := int64(len(a))
	refuse(end, a, []byte("x"))
	refuse(end, a, []byte("garbage"))
	refuse(end, a, []byte("\x1f\x8c\x08"))
	refuse(end+600, a, zeros, []byte("x"))
	refuse(end+1, a, zeros[:1], b) // gzip(1) does not look for members behind padding
}

func TestHeader(t *testing.T) {
	t.Parallel()
	plain := packed(t, []byte("text"), 6)
	with := func(flags byte, fields string) []byte {
		head := []byte("\x1f\x8b\x08")
		head = append(head, flags)
		head = append(head, "\x01\x02\x03\x04\x05\x06"+fields...)
		return head
	}
	check := func(head []byte, want string) {
		t.Helper()
		got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(append(slices.Clone(head), plain[10:]...))))
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("head %q: error %v, want %q", head, err, want)
			}
			return
		}
		if err != nil || string(got) != "text" {
			t.Errorf("head %q: got %q, %v", head, got, err)
		}
	}
	const text, crc, extra, name, comment = 1, 2, 4, 8, 16
	sum := func(head []byte) []byte {
		return binary.LittleEndian.AppendUint16(head, uint16(crc32.ChecksumIEEE(head)))
	}
	check(with(0, ""), "")
	check(with(text, ""), "")
	check(with(extra, "\x00\x00"), "")
	check(with(extra, "\x03\x00abc"), "")
	check(with(extra, "\x00\x02"+strings.Repeat("x", 512)), "")
	check(with(name, "\x00"), "")
	check(with(name, "data.csv\x00"), "")
	check(with(name, strings.Repeat("n", 1<<20)+"\x00"), "") // the standard library takes 511 bytes
	check(with(comment, "caf\xe9\x00"), "")
	check(sum(with(crc, "")), "")
	check(sum(with(text|crc|extra|name|comment, "\x01\x00\x00name\x00comment\x00")), "")

	check(with(crc, "\x12\x34"), "header crc mismatch")
	check(with(0x20, ""), "byte 4: unknown header flags set")
	check(with(0x80, ""), "unknown header flags set")
	check([]byte("\x1f\x8b\x07\x00"), "byte 3: unknown compression method")
	check([]byte("\x1f\x8c\x08\x00"), "byte 0: not in gzip format")
	check([]byte("\x00\x8b\x08\x00"), "not in gzip format")
	check([]byte("PK\x03\x04"), "not in gzip format")
	check([]byte("\"bucket\",\"key\""), "not in gzip format")
}

// Every beginning of a file is a file cut off, and what is read of it is true.
func TestCutOff(t *testing.T) {
	t.Parallel()
	text := inventory(3, true)
	for level := flate.HuffmanOnly; level <= 6; level += 2 {
		file := append(packed(t, text[:200], level), packed(t, text[200:], level)...)
		first := len(packed(t, text[:200], level))
		for n := range file {
			z := gunzip.NewReader(iotest.OneByteReader(bytes.NewReader(file[:n])))
			got, err := io.ReadAll(z)
			if n == first {
				if err != nil || len(got) != 200 {
					t.Errorf("level %d: the first member alone: %d bytes, error %v", level, len(got), err)
				}
				continue
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(text, got) {
				t.Fatalf("level %d: cut off at %d of %d: got %d bytes, error %v", level, n, len(file), len(got), err)
			}
			// The trailer's 8 bytes and one entry of two literals are all that may be lost.
			whole, _ := stdRead(file[:n])
			if len(got) < len(whole)-2 {
				t.Fatalf("level %d: cut off at %d: got %d bytes, the standard library %d", level, n, len(got), len(whole))
			}
			if again, err2 := z.Read(make([]byte, 1)); again != 0 || !errors.Is(err2, io.ErrUnexpectedEOF) {
				t.Fatalf("read on after the error: %d, %v", again, err2)
			}
		}
	}
}

func stdRead(file []byte) ([]byte, error) {
	z, err := stdgzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func TestErrorOfTheSource(t *testing.T) {
	t.Parallel()
	text := inventory(3000, false)
	file := packed(t, text, 6)
	lost := errors.New("connection lost")
	for _, n := range []int{0, 1, 9, 10, 11, 100, len(file) / 2, len(file) - 8, len(file) - 1, len(file)} {
		got, err := io.ReadAll(gunzip.NewReader(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(lost))))
		if err != lost || !bytes.HasPrefix(text, got) { //nolint:errorlint // the very error
			t.Errorf("after %d bytes: got %d bytes, error %v", n, len(got), err)
		}
	}
	if _, err := io.ReadAll(gunzip.NewReader(idle{})); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source without data or error: error %v", err)
	}
}

// idle is a reader that does nothing.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestDiscard(t *testing.T) {
	t.Parallel()
	text := inventory(5000, true)
	file := packed(t, text, 6)
	for _, n := range []int64{0, 1, 1000, 200_000, int64(len(text)) - 1, int64(len(text))} {
		z := gunzip.NewReader(bytes.NewReader(file))
		if err := z.Discard(n); err != nil || z.Offset() != n {
			t.Fatalf("discard %d: at %d, error %v", n, z.Offset(), err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, text[n:]) {
			t.Errorf("after %d: got %d bytes of %d, error %v", n, len(got), len(text[n:]), err)
		}
	}
	if err := gunzip.NewReader(bytes.NewReader(file)).Discard(int64(len(text)) + 1); !errors.Is(err, io.EOF) {
		t.Errorf("more than there is: error %v, want EOF", err)
	}
	if err := gunzip.NewReader(bytes.NewReader(file[:100])).Discard(1 << 40); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a file cut off: error %v, want unexpected EOF", err)
	}
}

// A flipped bit does not stay unseen, unless it means nothing to the standard library either.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	text := inventory(1, true)
	for level := flate.HuffmanOnly; level <= 6; level += 4 {
		file := packed(t, text, level)
		for bit := range 8 * len(file) {
			bad := slices.Clone(file)
			bad[bit/8] ^= 1 << (bit % 8)
			got, err := io.ReadAll(gunzip.NewReader(bytes.NewReader(bad)))
			want, stdErr := stdRead(bad)
			if bit/8 == 3 && bit%8 >= 5 {
				if err == nil {
					t.Errorf("reserved flag %d: no error", bit%8)
				}
				continue
			}
			if (err == nil) != (stdErr == nil) || err == nil && !bytes.Equal(got, want) {
				t.Fatalf("level %d, bit %d: %d bytes, error %v; the standard library: %d bytes, error %v", level, bit, len(got), err, len(want), stdErr)
			}
		}
	}
}

func TestReaderAllocates(t *testing.T) {
	file := packed(t, make([]byte, 64<<20), 9)
	r := bytes.NewReader(file)
	allocs := testing.AllocsPerRun(3, func() {
		r.Reset(file)
		if err := gunzip.NewReader(r).Discard(64 << 20); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 4 {
		t.Errorf("%v allocations for 64 MiB of text, want a few for the Reader", allocs)
	}
}
