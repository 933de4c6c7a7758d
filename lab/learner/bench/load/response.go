package load

import (
	"bytes"
	"errors"
	"strconv"
)

// maxHead is the longest response head that a client accepts, in bytes.
const maxHead = 16 << 10

// A response is read piece by piece. It needs a Content-Length (RFC 9112 §6.3), which every server here sends.
type response struct {
	head   []byte // a head that has not ended
	inBody bool
	left   int64 // of the body, in bytes
	status int
	closes bool // the last response says Connection: close
}

// take takes bytes of the connection. It returns the bytes that it has not taken, and whether a response has ended.
func (r *response) take(b []byte) (rest []byte, done bool, err error) {
	if !r.inBody {
		if len(r.head) > 0 {
			b = append(r.head, b...)
		}
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			if len(b) > maxHead {
				return nil, false, errors.New("the response head does not end")
			}
			r.head = append(r.head[:0:0], b...)
			return nil, false, nil
		}
		if err := r.parse(b[:end+2]); err != nil {
			return nil, false, err
		}
		r.head = nil
		r.inBody = true
		b = b[end+4:]
	}
	n := min(int64(len(b)), r.left)
	r.left -= n
	if r.left == 0 {
		r.inBody = false
		return b[n:], true, nil
	}
	return b[n:], false, nil
}

// parse reads the status and the two header fields that matter.
func (r *response) parse(head []byte) error {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return errors.New("no status line")
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return errors.New("no status in the status line")
	}
	r.status, r.closes, r.left = status, false, -1
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		if len(line) < 11 || line[0]|0x20 != 'c' {
			continue
		}
		switch {
		case len(line) > 15 && line[14] == ':' && bytes.EqualFold(line[:14], []byte("content-length")):
			if r.left, err = strconv.ParseInt(string(bytes.TrimSpace(line[15:])), 10, 64); err != nil {
				return errors.New("a Content-Length that is no number")
			}
		case line[10] == ':' && bytes.EqualFold(line[:10], []byte("connection")):
			r.closes = bytes.EqualFold(bytes.TrimSpace(line[11:]), []byte("close"))
		}
	}
	if r.left < 0 {
		return errors.New("no Content-Length")
	}
	return nil
}
