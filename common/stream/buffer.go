// Package stream stores the bytes that a connection received. Each byte is addressed by
// its position in the stream.
package stream

import "io"

// Pos is a position in a stream of bytes: the number of bytes that come before it. It
// works like a TCP sequence number that starts at 0 and never wraps around. A [Buffer]
// moves its bytes when it grows or compacts, but their positions stay the same. Store a
// Pos where a C program would store a pointer, and get the bytes when they are needed.
type Pos int64

// minSize is the size of a new Buffer's memory, in bytes. One read can fill all of it,
// so one system call receives many pipelined requests.
const minSize = 16 << 10

// Buffer holds the received bytes of one stream that were not discarded yet. The zero
// value is an empty buffer at position 0. A Buffer is not safe for concurrent use.
//
//	  discarded        advanced over         unread           free
//	|-----------|------------------------|-------------|----------------|
//	            start                    r             w             len(buf)
//	            base                     pos           End()
type Buffer struct {
	buf   []byte
	start int // buf[:start] was discarded; its memory is not yet reused
	r     int // buf[start:r] was advanced over; Bytes still returns it
	w     int // buf[r:w] is unread; buf[w:] is free
	base  Pos // the position of buf[start]
	pos   Pos // the position of buf[r]
	hole  Pos // Cut removed holeLen bytes at this position, between base and pos
	// holeLen is 0 if there is no hole. The bytes after the hole are in memory directly
	// after the bytes before it: index subtracts holeLen from their positions.
	holeLen int
}

// Fill reads once from r and first makes room if the buffer is full: it reuses discarded memory,
// or doubles the buffer if there is none. It returns the results of that one Read. If r may
// block, Fill blocks at most once.
func (b *Buffer) Fill(r io.Reader) (int, error) {
	switch {
	case b.w < len(b.buf):
	case b.start > 0:
		// Reuse discarded memory and no more, so that a stream without pauses does not
		// make the buffer grow.
		b.Grow(b.start)
	default:
		b.Grow(max(len(b.buf), minSize))
	}
	n, err := r.Read(b.buf[b.w:])
	b.w += n
	return n, err
}

// Grow makes room for at least n more bytes. It reuses discarded memory first. If that
// is not enough, it moves the bytes to an array that is just large enough. Bytes that were
// advanced over but not discarded stay. All positions stay the same.
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

// Unread returns the received bytes from the read position on. The slice is valid until
// the next Fill, Grow, Cut, Discard or Reset.
func (b *Buffer) Unread() []byte { return b.buf[b.r:b.w] }

// Advance moves the read position past n unread bytes. [Buffer.Bytes] returns these bytes
// until the next Discard. Advance panics if there are fewer than n unread bytes.
func (b *Buffer) Advance(n int) {
	if uint(n) > uint(b.w-b.r) {
		panic("stream: Advance by a negative count or past the last received byte")
	}
	b.r += n
	b.pos += Pos(n)
}

// Bytes returns the bytes in the range of positions [from, to). The range must not contain
// bytes that Cut removed. The slice is valid until the next Fill, Grow, Cut, Discard or
// Reset. Bytes panics if from or to is a removed position, or outside of the buffer.
func (b *Buffer) Bytes(from, to Pos) []byte {
	return b.buf[b.index(from):b.index(to)]
}

// index converts a position to an index of buf.
func (b *Buffer) index(p Pos) int {
	i := b.start + int(p-b.base)
	if b.holeLen > 0 && p > b.hole {
		i -= b.holeLen
		if p < b.hole+Pos(b.holeLen) {
			panic("stream: the position is in a part that Cut removed")
		}
	}
	if i < b.start || i > b.w || p < b.base {
		panic("stream: the position is not in the buffer")
	}
	return i
}

// Pos returns the read position, which is the position of the first unread byte.
func (b *Buffer) Pos() Pos { return b.pos }

// End returns the position after the last received byte.
func (b *Buffer) End() Pos { return b.pos + Pos(b.w-b.r) }

// Free returns how many bytes Fill can read before the buffer must make room. Discarded
// memory does not count.
func (b *Buffer) Free() int { return len(b.buf) - b.w }

// Cap returns the size of the buffer's memory in bytes.
func (b *Buffer) Cap() int { return len(b.buf) }

// Discard drops all bytes before the read position. It changes no position. The buffer
// reuses their memory when it needs room.
func (b *Buffer) Discard() {
	b.base, b.holeLen = b.pos, 0
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
	b.start = b.r
}

// Cut drops the bytes in the range of positions [from, Pos()) and frees their memory at
// once. The bytes before from stay. The buffer has only one hole: until the next Discard,
// every Cut must have the same from, and makes the hole longer.
//
// The parser decodes a chunked body as it arrives and cuts each part that it has decoded.
// The request head stays in the buffer, and the encoded body does not fill it.
func (b *Buffer) Cut(from Pos) {
	if b.holeLen > 0 && from != b.hole {
		panic("stream: Cut at a second position")
	}
	i := b.start + int(from-b.base)
	if i < b.start || i > b.r {
		panic("stream: Cut at a position that is discarded or still unread")
	}
	b.hole = from
	b.holeLen += b.r - i
	b.w = i + copy(b.buf[i:], b.buf[b.r:b.w])
	b.r = i
}

// Reset empties the buffer and makes at the position of the next byte. It keeps the memory
// for reuse unless the memory is larger than limit bytes.
func (b *Buffer) Reset(at Pos, limit int) {
	*b = Buffer{buf: b.buf, base: at, pos: at}
	if len(b.buf) > limit {
		b.buf = nil
	}
}
