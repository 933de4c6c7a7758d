package stream

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// model is the specification of a Buffer, written without any reuse of memory. It keeps
// every byte since the last Reset, and it knows which of them Bytes must still return.
type model struct {
	all              []byte // the byte at position p is all[p-first]
	first            Pos    // the position given to Reset
	base, pos        Pos    // bytes before base are discarded; bytes from pos on are unread
	holeFrom, holeTo Pos    // the bytes that Cut removed
}

func (m *model) end() Pos { return m.first + Pos(len(m.all)) }

func (m *model) bytes(from, to Pos) []byte { return m.all[from-m.first : to-m.first] }

// available reports whether Bytes(from, to) is allowed.
func (m *model) available(from, to Pos) bool {
	return to <= m.holeFrom || from >= m.holeTo || m.holeFrom == m.holeTo
}

func (m *model) check(t *testing.T, b *Buffer, rnd *rand.Rand) {
	t.Helper()
	if got, want := b.Unread(), m.bytes(m.pos, m.end()); !bytes.Equal(got, want) {
		t.Fatalf("Unread() = %q, want %q", got, want)
	}
	if b.Pos() != m.pos || b.End() != m.end() {
		t.Fatalf("Pos() = %d, End() = %d, want %d and %d", b.Pos(), b.End(), m.pos, m.end())
	}
	for range 4 {
		from := m.base + Pos(rnd.Int64N(int64(m.end()-m.base)+1))
		to := from + Pos(rnd.Int64N(int64(m.end()-from)+1))
		if !m.available(from, to) {
			continue
		}
		if got, want := b.Bytes(from, to), m.bytes(from, to); !bytes.Equal(got, want) {
			t.Fatalf("Bytes(%d, %d) = %q, want %q", from, to, got, want)
		}
	}
}

// oddReader does everything that an io.Reader is allowed to do: it returns fewer bytes
// than asked for, no bytes, or bytes together with an error.
type oddReader struct {
	rnd  *rand.Rand
	read []byte // what the last Read returned
}

var errOdd = errors.New("odd")

func (r *oddReader) Read(p []byte) (int, error) {
	n := 0
	switch r.rnd.IntN(4) {
	case 0: // no bytes
	case 1:
		n = min(1, len(p))
	case 2:
		n = r.rnd.IntN(len(p) + 1)
	case 3:
		n = len(p)
	}
	for i := range p[:n] {
		p[i] = byte(r.rnd.Uint32())
	}
	r.read = append(r.read[:0], p[:n]...)
	switch r.rnd.IntN(8) {
	case 0:
		return n, io.EOF
	case 1:
		return n, errOdd
	}
	return n, nil
}

func TestBufferAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var b Buffer
		var m model
		r := &oddReader{rnd: rnd}
		b.Grow(1 + rnd.IntN(64)) // a small buffer moves its bytes often
		for range 500 {
			switch op := rnd.IntN(16); {
			case op < 5:
				if b.Free() == 0 {
					b.Grow(1 + rnd.IntN(100))
				}
				n, _ := b.Fill(r)
				if n != len(r.read) {
					t.Fatalf("Fill returned %d, but Read returned %d", n, len(r.read))
				}
				m.all = append(m.all, r.read...)
			case op < 10:
				n := rnd.IntN(int(m.end()-m.pos) + 1)
				b.Advance(n)
				m.pos += Pos(n)
			case op < 12:
				n := rnd.IntN(300)
				b.Grow(n)
				if b.Free() < n {
					t.Fatalf("%d bytes free after Grow(%d)", b.Free(), n)
				}
			case op < 14:
				from := m.holeFrom
				if m.holeFrom == m.holeTo {
					from = m.base + Pos(rnd.Int64N(int64(m.pos-m.base)+1))
				}
				b.Cut(from)
				m.holeFrom, m.holeTo = from, m.pos
			case op < 15:
				b.Discard()
				m.base = m.pos
				m.holeFrom, m.holeTo = 0, 0
			default:
				if rnd.IntN(8) > 0 {
					continue
				}
				at, limit := Pos(rnd.IntN(1000)), rnd.IntN(500)
				b.Reset(at, limit)
				m = model{first: at, base: at, pos: at}
				if b.Cap() > limit {
					t.Fatalf("Reset kept %d bytes of memory, want at most %d", b.Cap(), limit)
				}
			}
			m.check(t, &b, rnd)
		}
	}
}

func TestPosSurvivesMoves(t *testing.T) {
	var b Buffer
	b.Grow(8)
	fill(t, &b, "skipped:")
	b.Advance(8)
	b.Discard()
	fill(t, &b, "name")
	from := b.Pos()
	b.Advance(4)
	to := b.Pos()
	before := &b.buf[0]
	fill(t, &b, "more") // fits into the discarded memory
	if string(b.Bytes(from, to)) != "name" || &b.buf[0] != before {
		t.Errorf("after compaction: %q, same array %v; want \"name\" in the same array", b.Bytes(from, to), &b.buf[0] == before)
	}
	fill(t, &b, "and more than fits") // needs a larger array
	if string(b.Bytes(from, to)) != "name" || &b.buf[0] == before {
		t.Errorf("after growth: %q, same array %v; want \"name\" in a new array", b.Bytes(from, to), &b.buf[0] == before)
	}
	if got, want := string(b.Unread()), "moreand more than fits"; got != want {
		t.Errorf("Unread() = %q, want %q", got, want)
	}
}

// fill appends s to b and makes no more room than s needs.
func fill(t *testing.T, b *Buffer, s string) {
	t.Helper()
	b.Grow(len(s))
	if n, err := b.Fill(bytes.NewReader([]byte(s))); n != len(s) || err != nil {
		t.Fatalf("Fill: %d, %v", n, err)
	}
}

func TestFillReadsOnce(t *testing.T) {
	var b Buffer
	src := bytes.NewReader(bytes.Repeat([]byte("x"), 100))
	if n, err := b.Fill(iotest.OneByteReader(src)); n != 1 || err != nil {
		t.Errorf("Fill from a reader that returns one byte: %d, %v; want 1 byte from one Read", n, err)
	}
	if n, err := b.Fill(iotest.DataErrReader(src)); n != 99 || err != io.EOF {
		t.Errorf("Fill from a reader that returns 99 bytes together with EOF: %d, %v", n, err)
	}
	if len(b.Unread()) != 100 {
		t.Errorf("the buffer holds %d unread bytes, want 100", len(b.Unread()))
	}
	if n, err := b.Fill(iotest.ErrReader(errOdd)); n != 0 || err != errOdd {
		t.Errorf("Fill from a reader that fails: %d, %v; want 0, %v", n, err, errOdd)
	}
}

func TestCutKeepsBothSides(t *testing.T) {
	var b Buffer
	b.Grow(32)
	fill(t, &b, "headbodytail")
	b.Advance(8)
	b.Cut(4)
	if got := string(b.Bytes(0, 4)); got != "head" {
		t.Errorf("before the hole: %q, want \"head\"", got)
	}
	if got := string(b.Unread()); got != "tail" {
		t.Errorf("after the hole: %q, want \"tail\"", got)
	}
	if b.Pos() != 8 || b.End() != 12 {
		t.Errorf("Pos() = %d, End() = %d; want 8 and 12, as before the Cut", b.Pos(), b.End())
	}
	b.Advance(2)
	b.Cut(4) // the hole grows
	if got := string(b.Unread()); got != "il" || b.Pos() != 10 {
		t.Errorf("unread after the second Cut: %q at %d, want \"il\" at 10", got, b.Pos())
	}
	if got := string(b.Bytes(10, 12)); got != "il" {
		t.Errorf("Bytes(10, 12) after the second Cut: %q, want \"il\"", got)
	}
	b.Advance(2)
	b.Discard()
	fill(t, &b, "next")
	if got := string(b.Bytes(12, 16)); got != "next" {
		t.Errorf("Bytes(12, 16) after Discard: %q, want \"next\"", got)
	}
}

func TestMisuse(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(b *Buffer)
	}{
		{"Advance past the end", func(b *Buffer) { b.Advance(9) }},
		{"Advance backwards", func(b *Buffer) { b.Advance(-1) }},
		{"Bytes from a discarded position", func(b *Buffer) { b.Bytes(3, 5) }},
		{"Bytes to a position after the end", func(b *Buffer) { b.Bytes(10, 13) }},
		{"Bytes from a position after the end", func(b *Buffer) { b.Bytes(13, 13) }},
		{"Bytes from a position in the hole", func(b *Buffer) { b.Advance(4); b.Cut(5); b.Bytes(6, 9) }},
		{"Bytes to a position in the hole", func(b *Buffer) { b.Advance(4); b.Cut(5); b.Bytes(4, 6) }},
		{"Cut at a second position", func(b *Buffer) { b.Advance(4); b.Cut(5); b.Advance(1); b.Cut(4) }},
		{"Cut at an unread position", func(b *Buffer) { b.Cut(5) }},
		{"Cut at a discarded position", func(b *Buffer) { b.Cut(3) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Buffer
			b.Grow(64) // memory after the last byte: without a check, a wrong index would reach it
			fill(t, &b, "0123456789ab")
			b.Advance(4)
			b.Discard()
			defer func() {
				if recover() == nil {
					t.Error("no panic, so the caller would get wrong bytes")
				}
			}()
			c.do(&b)
		})
	}
}

// endless is a reader that fills every slice and never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestSteadyStateDoesNotGrow reads requests without a pause. The buffer must not grow,
// wherever a read happens to split a request.
func TestSteadyStateDoesNotGrow(t *testing.T) {
	var b Buffer
	rnd := rand.New(rand.NewPCG(1, 2))
	step := func() {
		if _, err := b.Fill(endless{}); err != nil {
			t.Fatal(err)
		}
		for len(b.Unread()) >= 700 {
			b.Advance(45 + rnd.IntN(655))
			b.Discard()
		}
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for each read, want none", n)
	}
	if b.Cap() != minSize {
		t.Errorf("the buffer grew to %d bytes, want %d", b.Cap(), minSize)
	}
	if b.Pos() < 1000*minSize/2 {
		t.Errorf("the test read only %d bytes, want at least %d", b.Pos(), 1000*minSize/2)
	}
}

func TestFillDoublesAFullBuffer(t *testing.T) {
	var b Buffer
	for range 8 { // nothing is discarded, so every read needs a larger array
		if _, err := b.Fill(endless{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.Unread()); n != minSize<<7 {
		t.Errorf("%d unread bytes after eight reads, want %d: each Fill of a full buffer doubles it", n, minSize<<7)
	}
}
