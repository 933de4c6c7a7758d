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

// byteRange is the bytes from first up to and including last.
type byteRange struct{ first, last int64 }

func (r byteRange) len() int64 { return r.last - r.first + 1 }

// maxRanges bounds what one request can ask for: many small parts cost the server
// more than the client (RFC 9110 §17.15). Nobody needs more.
const maxRanges = 16

// parseRanges reads the value of a Range field for a file of the given size and
// appends to dst what it asks for, in its order (RFC 9110 §14.1.2). status is
//
//   - 206 if there is something to send;
//   - 416 if the field is right but no range is in the file;
//   - 200 if the field is to be ignored: it has another unit than bytes, is not
//     well-formed, has more than maxRanges ranges, or ranges that overlap. A suffix
//     of an empty file is the whole file too: no Content-Range can say "no bytes".
//
// Ranges that lie outside the file are dropped as long as another one does not.
func parseRanges(dst []byteRange, value []byte, size int64) (ranges []byteRange, status int) {
	const unit = "bytes=" // range units are case-insensitive (§14.1)
	if len(value) < len(unit) || !bytes.EqualFold(value[:len(unit)], []byte(unit)) {
		return nil, 200
	}
	count := 0
	for rest, more := value[len(unit):], true; more; {
		var spec []byte
		spec, rest, more = bytes.Cut(rest, comma)
		if spec = h1.TrimOWS(spec); len(spec) == 0 {
			continue // RFC 9110 §5.6.1.2: empty list elements are skipped
		}
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

// parseRange reads "first-last", "first-" or "-length". A range outside the file
// has a first that is not below size. ok is false if spec is malformed or, for a
// suffix of an empty file, if there is nothing that it could say.
func parseRange(spec []byte, size int64) (r byteRange, ok bool) {
	before, after, found := bytes.Cut(spec, []byte("-"))
	if !found {
		return r, false
	}
	if len(before) == 0 {
		n, ok := parseDigits(after)
		if n == 0 || !ok {
			return byteRange{size, size}, ok // "-0" asks for nothing: it is outside
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
	if !ok || r.last < r.first {
		return r, false
	}
	r.last = min(r.last, size-1)
	return r, true
}

// parseDigits reads a decimal number. One that is too large for an int64 is the
// largest: no file reaches there, so every comparison comes out the same.
func parseDigits(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0
}

// serveRanges describes a 206 with the given ranges of e, at least one.
func serveRanges(w *h1.Response, e *entry, ranges []byteRange) {
	w.Status = 206
	if len(ranges) == 1 {
		w.RawFields(e.fields)
		var line [64]byte
		w.FieldBytes("Content-Range", appendContentRange(line[:0], ranges[0], e.size))
		e.send(w, ranges[0].first, ranges[0].len())
		return
	}
	// 128 random bits, new for each response: nobody can put a boundary into a file
	// before it is used.
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

// unsatisfiable answers a Range field of which nothing is in the file
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
