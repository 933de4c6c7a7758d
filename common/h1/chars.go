package h1

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// Character classes. Each is one bit, because a byte can belong to several.
const (
	isToken      = 1 << iota // a token, such as a method or a field name (RFC 9110 §5.6.2)
	isPathByte               // a target up to its "?": 21–7E without "#", "%", "?" and notInPath
	isQueryByte              // a target after its "?": 21–7E without "#"
	isRegName                // a host name: unreserved, sub-delims, "%" (RFC 3986 §3.2.2)
	isQuotedText             // a quoted-string between its quotes, without "\" (RFC 9110 §5.6.4)
)

// notInPath has the bytes of 21–7E that RFC 3986 allows in no part of a URL and that browsers
// escape in a path. Browsers send [ ] | ^ in a path unescaped, so the parser accepts these.
const notInPath = "\"<>\\`{}"

var class = func() (t [256]uint8) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	set := func(bit uint8, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= bit
		}
	}
	set(isToken, letters+"!#$%&'*+-.^_`|~")
	set(isRegName, letters+"-._~!$&'()*+,;=%")
	for c := 0; c < 256; c++ {
		if c >= 0x21 && c <= 0x7E && c != '#' {
			t[c] |= isQueryByte
			if c != '?' && c != '%' && !strings.ContainsRune(notInPath, rune(c)) {
				t[c] |= isPathByte
			}
		}
		if !isControl(byte(c)) && c != '"' && c != '\\' {
			t[c] |= isQuotedText
		}
	}
	return t
}()

// prefix returns how many bytes at the front of data belong to one class.
func prefix(data []byte, bit uint8) int {
	for i, c := range data {
		if class[c]&bit == 0 {
			return i
		}
	}
	return len(data)
}

// valuePrefix returns how many bytes at the front of data are allowed in a field value:
// all bytes except control bytes, but including tab. It examines eight bytes at a time,
// because most bytes of a request head are in long field values.
func valuePrefix(data []byte) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(data); i += 8 {
		x := binary.LittleEndian.Uint64(data[i:])
		// A well-known trick sets the highest bit of every byte that is less than n. It
		// is used twice: for bytes below 20, and for 7F, which an exclusive or turns into
		// 0. The trick misses no control byte, but it can mark other bytes: a tab, or a
		// neighbor to which a borrow was carried. So each marked byte is checked again.
		ctl := (x - ones*0x20) & ^x & highs
		del := x ^ (ones * 0x7F)
		ctl |= (del - ones) & ^del & highs
		for ctl != 0 {
			at := i + bits.TrailingZeros64(ctl)/8
			if isControl(data[at]) {
				return at
			}
			ctl &= ctl - 1
		}
	}
	for ; i < len(data); i++ {
		if isControl(data[i]) {
			return i
		}
	}
	return i
}

// EqualFold reports whether b and s are equal ASCII text, ignoring letter case.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if b[i] != s[i] && lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// hex returns the value of a hex digit, or -1 if c is not a hex digit.
func hex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// isControl reports whether c is a control byte other than tab.
func isControl(c byte) bool { return (c < 0x20 && c != '\t') || c == 0x7F }

// isSpace reports whether c is white space in HTTP (RFC 9110 §5.6.3): a space or a tab.
func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// TrimOWS returns data without the spaces and tabs around it. Unlike bytes.TrimSpace, it
// keeps line ends and other Unicode white space: HTTP's optional white space (OWS) is only
// spaces and tabs (RFC 9110 §5.6.3).
func TrimOWS(data []byte) []byte {
	data = data[spaces(data):]
	return data[:len(data)-trailingSpaces(data)]
}

// spaces returns the number of spaces and tabs at the front of data.
func spaces(data []byte) int {
	n := 0
	for n < len(data) && isSpace(data[n]) {
		n++
	}
	return n
}

// trailingSpaces returns the number of spaces and tabs at the end of data.
func trailingSpaces(data []byte) int {
	n := 0
	for n < len(data) && isSpace(data[len(data)-1-n]) {
		n++
	}
	return n
}
