package site

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strconv"

	"fourways.example/common/h1"
)

// A byteRange is the range of bytes from first to last. It includes last.
type byteRange struct{ first, last int64 }

func (r byteRange) len() int64 { return r.last - r.first + 1 }

// maxRanges is the maximum number of ranges in one request. Many small ranges cost the
// server more than the client, so an attacker can use them (RFC 9110 §17.15). Real clients
// send few.
const maxRanges = 16

// parseRanges parses the value of a Range field (RFC 9110 §14.1.2) for a file of the given
// size. It appends the ranges in the file to dst, in the order of the field, and ignores
// ranges outside of the file. status is
//
//   - 206 if there is at least one range to send;
//   - 416 if the field is valid, but all of its ranges are outside of the file;
//   - 200 if the server must ignore the field: its unit is not bytes, it is malformed, it
//     has more than maxRanges ranges, its ranges overlap, or it asks for a suffix of an
//     empty file. A Content-Range cannot express a range without bytes.
func parseRanges(dst []byteRange, value []byte, size int64) (ranges []byteRange, status int) {
	const unit = "bytes=" // range units are case-insensitive (§14.1)
	if len(value) < len(unit) || !h1.EqualFold(value[:len(unit)], unit) {
		return nil, 200
	}
	count := 0
	for spec := range h1.Elements(value[len(unit):]) {
		if count++; count > maxRanges {
			return nil, 200
		}
		r, ok := parseRange(spec, size)
		if !ok {
			return nil, 200
		}
		if r.first >= size {
			continue
		}
		for _, other := range dst {
			if r.first <= other.last && other.first <= r.last {
				return nil, 200
			}
		}
		dst = append(dst, r)
	}
	switch {
	case count == 0:
		return nil, 200
	case len(dst) == 0:
		return nil, 416
	}
	return dst, 206
}

// parseRange parses "first-last", "first-" or "-length". If the range is outside of the
// file, first is at least size. ok is false if spec is malformed, or if it is a suffix and
// the file is empty.
func parseRange(spec []byte, size int64) (r byteRange, ok bool) {
	before, after, found := bytes.Cut(spec, []byte("-"))
	if !found {
		return r, false
	}
	if len(before) == 0 {
		n, ok := parseDigits(after)
		if n == 0 || !ok {
			return byteRange{size, size}, ok // "-0" is a range without bytes, which counts as outside of the file
		}
		return byteRange{max(0, size-n), size - 1}, size > 0
	}
	r.first, ok = parseDigits(before)
	if !ok {
		return r, false
	}
	if len(after) == 0 {
		r.last = size - 1
		return r, true
	}
	r.last, ok = parseDigits(after)
	if !ok || smaller(after, before) {
		return r, false
	}
	r.last = min(r.last, size-1)
	return r, true
}

// smaller reports whether the decimal number a is smaller than b. It compares the digits,
// because both numbers may be too large for an int64.
func smaller(a, b []byte) bool {
	a, b = bytes.TrimLeft(a, "0"), bytes.TrimLeft(b, "0")
	return len(a) < len(b) || len(a) == len(b) && bytes.Compare(a, b) < 0
}

// parseDigits parses a decimal number. If the number is too large for an int64, it returns
// the largest int64. No position in a file is that large, so comparisons with the size are
// still right.
func parseDigits(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if d := int64(c - '0'); n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + d
		}
	}
	return n, len(b) > 0
}

// serveRanges describes a 206 response with the given ranges of e. There must be at least
// one.
func serveRanges(w *h1.Response, e *entry, ranges []byteRange) {
	w.Status = 206
	if len(ranges) == 1 {
		w.RawFields(e.fields)
		var line [64]byte
		w.FieldBytes("Content-Range", appendContentRange(line[:0], ranges[0], e.size))
		e.send(w, ranges[0].first, ranges[0].len())
		return
	}
	// Each response has a new random boundary of 128 bits, so an attacker cannot know it in
	// advance and put it into a file.
	var memory [32]byte
	var random [16]byte
	binary.NativeEndian.PutUint64(random[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(random[8:], rand.Uint64())
	boundary := hex.AppendEncode(memory[:0], random[:])
	w.RawFields(e.fields[:e.untyped])
	var kind [80]byte
	w.FieldBytes("Content-Type", append(append(kind[:0], "multipart/byteranges; boundary="...), boundary...))
	for i, r := range ranges {
		b := w.Build()
		if i > 0 {
			b = append(b, "\r\n"...)
		}
		b = append(append(append(b, "--"...), boundary...), "\r\n"...)
		b = append(b, e.fields[e.untyped:]...) // Content-Type
		b = appendContentRange(append(b, "Content-Range: "...), r, e.size)
		w.Built(append(b, "\r\n\r\n"...))
		e.send(w, r.first, r.len())
	}
	b := append(append(w.Build(), "\r\n--"...), boundary...)
	w.Built(append(b, "--\r\n"...))
}

// unsatisfiable answers a request whose ranges are all outside of the file
// (RFC 9110 §15.5.17).
func unsatisfiable(w *h1.Response, e *entry) {
	w.Error(416, "")
	var line [64]byte
	w.FieldBytes("Content-Range", strconv.AppendInt(append(line[:0], "bytes */"...), e.size, 10))
	w.Field("Accept-Ranges", "bytes")
}

func appendContentRange(b []byte, r byteRange, size int64) []byte {
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, r.first, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, r.last, 10)
	b = append(b, '/')
	return strconv.AppendInt(b, size, 10)
}
