package h1

import (
	"encoding/binary"
	"math/bits"
)

// What a byte may be part of, one bit for each.
const (
	isToken      = 1 << iota // a token: methods, field names (RFC 9110 §5.6.2)
	isPathByte               // a target up to its "?": 21–7E but "#", "%" and "\"
	isQueryByte              // a target behind its "?": 21–7E but "#"
	isRegName                // a host name: unreserved, sub-delims, "%" (RFC 3986 §3.2.2)
	isQuotedText             // between quotes, but for the backslash (RFC 9110 §5.6.4)
)

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
			if c != '\\' && c != '?' && c != '%' {
				t[c] |= isPathByte
			}
		}
		if !isControl(byte(c)) && c != '"' && c != '\\' {
			t[c] |= isQuotedText
		}
	}
	return t
}()

// prefix returns how many bytes at the front of data are of one class.
func prefix(data []byte, bit uint8) int {
	for i, c := range data {
		if class[c]&bit == 0 {
			return i
		}
	}
	return len(data)
}

// valuePrefix returns how many bytes at the front of data may stand in a field
// value: everything but control bytes, tab excepted. It looks at eight bytes at a
// time: long values are where a head's bytes are.
func valuePrefix(data []byte) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(data); i += 8 {
		x := binary.LittleEndian.Uint64(data[i:])
		// The classic test "has a byte less than n", once for bytes below 20 and once
		// for 7F ("less than 1" after an exclusive or). It misses none; a borrow, or a
		// tab, can report a byte too many, so the byte itself has the last word.
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

// equalFold compares ASCII text without regard to letter case. s is in lower case
// or in the case that documents use; its letters decide.
func equalFold(b []byte, s string) bool {
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

// hex returns the value of a hex digit, or -1.
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

// isControl tells a control byte other than tab.
func isControl(c byte) bool { return (c < 0x20 && c != '\t') || c == 0x7F }

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// TrimOWS returns data without the optional white space around it (RFC 9110 §5.6.3):
// spaces and tabs, and nothing that Unicode calls a space besides.
func TrimOWS(data []byte) []byte {
	for len(data) > 0 && isSpace(data[0]) {
		data = data[1:]
	}
	return data[:len(data)-spacesBehind(data)]
}

// spacesBehind returns how many spaces and tabs data ends with.
func spacesBehind(data []byte) int {
	n := 0
	for n < len(data) && isSpace(data[len(data)-1-n]) {
		n++
	}
	return n
}
