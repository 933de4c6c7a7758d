// Package stream holds the bytes that a connection received, addressed by their
// position in the stream.
package stream

import "io"

// Pos is a position in a stream of bytes: the number of bytes that came before it,
// like a TCP sequence number that starts at 0 and does not wrap. Growing and
// compacting a [Buffer] move memory, never a Pos: store a Pos where C programs would
// store a pointer, and ask for the bytes when they are needed.
type Pos int64

// minSize is how much memory a Buffer starts with, in bytes. It is what one read
// from an idle connection can take, so pipelined requests come many at a time.
const minSize = 16 << 10

// Buffer holds the received bytes of one stream, from the last [Buffer.Discard] on.
// The zero value is an empty buffer at position 0. A Buffer is not safe for
// concurrent use.
//
//	  forgotten        advanced over         unread           free
//	|-----------|------------------------|-------------|----------------|
//	            start                    r             w             len(buf)
//	            base                     pos           End()
type Buffer struct {
	buf   []byte
	start int // buf[:start] is forgotten, its memory not yet reused
	r     int // buf[start:r] was advanced over and can still be had by position
	w     int // buf[r:w] is unread; buf[w:] is free
	base  Pos // the position of buf[start]
	pos   Pos // the position of buf[r]
	hole  Pos // what Cut forgot: holeLen bytes from here, between base and pos
	// holeLen is 0 while there is no hole. Bytes behind the hole lie holeLen nearer to
	// buf[start] than their positions say.
	holeLen int
}

// Fill makes room if there is none and reads once from r. It returns what that one
// Read returned: with a reader that may block, Fill blocks at most once.
func (b *Buffer) Fill(r io.Reader) (int, error) {
	switch {
	case b.w < len(b.buf):
	case b.start > 0:
		b.Grow(b.start) // no more than was forgotten: a stream that never pauses stays flat
	default:
		b.Grow(max(len(b.buf), minSize))
	}
	n, err := r.Read(b.buf[b.w:])
	b.w += n
	return n, err
}

// Grow makes room for at least n more bytes. Memory that was forgotten is used
// first; if that is not enough, the bytes move to a larger array.
func (b *Buffer) Grow(n int) {
	held := b.w - b.start
	if len(b.buf)-b.w >= n {
		return
	}
	to := b.buf
	if len(b.buf)-held < n {
		to = make([]byte, held+n)
	}
	copy(to, b.buf[b.start:b.w])
	b.buf = to
	b.r, b.w, b.start = b.r-b.start, held, 0
}

// Unread returns the bytes that were received and not yet advanced over. The slice
// is valid until the next Fill, Grow, Cut or Discard.
func (b *Buffer) Unread() []byte { return b.buf[b.r:b.w] }

// Advance moves the read position over n unread bytes. They stay available by
// position until the next Discard.
func (b *Buffer) Advance(n int) {
	if uint(n) > uint(b.w-b.r) {
		panic("stream: Advance beyond what was received")
	}
	b.r += n
	b.pos += Pos(n)
}

// Bytes returns the bytes from position from up to position to, which may not span
// a Cut. The slice is valid until the next Fill, Grow, Cut or Discard.
func (b *Buffer) Bytes(from, to Pos) []byte {
	return b.buf[b.index(from):b.index(to)]
}

// index turns a position into an index of buf.
func (b *Buffer) index(p Pos) int {
	i := b.start + int(p-b.base)
	if b.holeLen > 0 && p > b.hole {
		i -= b.holeLen
		if p < b.hole+Pos(b.holeLen) {
			panic("stream: these bytes were cut out")
		}
	}
	if i < b.start || i > b.w || p < b.base {
		panic("stream: these bytes are not here")
	}
	return i
}

// Pos returns the read position: that of the first unread byte.
func (b *Buffer) Pos() Pos { return b.pos }

// End returns the position behind the last received byte.
func (b *Buffer) End() Pos { return b.pos + Pos(b.w-b.r) }

// Free returns how many bytes Fill can read without growing, not counting
// forgotten memory.
func (b *Buffer) Free() int { return len(b.buf) - b.w }

// Cap returns how much memory the buffer holds, in bytes.
func (b *Buffer) Cap() int { return len(b.buf) }

// Discard forgets everything before the read position. Positions stay what they
// are; the memory is reused when room is needed.
func (b *Buffer) Discard() {
	b.base, b.holeLen = b.pos, 0
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
	b.start = b.r
}

// Cut forgets the bytes from position from up to the read position, and reuses
// their memory at once; what lies before from stays. A later Cut must name the same
// position until the next Discard: a buffer has one hole, which grows.
//
// This is how a body that is decoded as it comes is kept from filling the buffer
// that still holds the head.
func (b *Buffer) Cut(from Pos) {
	if b.holeLen > 0 && from != b.hole {
		panic("stream: Cut at a second place")
	}
	i := b.start + int(from-b.base)
	if i < b.start || i > b.r {
		panic("stream: Cut outside of what was advanced over")
	}
	b.hole = from
	b.holeLen += b.r - i
	b.w = i + copy(b.buf[i:], b.buf[b.r:b.w])
	b.r = i
}

// Reset empties the buffer and sets the position that its next byte will have,
// keeping at most limit bytes of memory.
func (b *Buffer) Reset(at Pos, limit int) {
	*b = Buffer{buf: b.buf, base: at, pos: at}
	if len(b.buf) > limit {
		b.buf = nil
	}
}
