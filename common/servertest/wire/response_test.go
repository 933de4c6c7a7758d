package wire

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

// TestStrict feeds the reader responses that a lenient one would accept: a suite that does not
// see them proves nothing.
func TestStrict(t *testing.T) {
	t.Parallel()
	date := "Date: " + time.Now().UTC().Format(imfFixdate) + "\r\n"
	good := "HTTP/1.1 200 OK\r\n" + date + "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
	without := func(part string) string { return strings.Replace(good, part, "", 1) }
	swap := func(old, now string) string { return strings.Replace(good, old, now, 1) }
	add := func(line string) string { return swap("\r\n\r\n", "\r\n"+line+"\r\n\r\n") }
	for _, c := range []struct {
		name, method, raw string
		fails             string // "" for a good one
	}{
		{"good", "GET", good, ""},
		{"an interim response", "POST", "HTTP/1.1 100 Continue\r\n\r\n" + good, ""},
		{"HEAD", "HEAD", without("ok"), ""},
		{"204", "OPTIONS", "HTTP/1.1 204 No Content\r\n" + date + "Allow: GET\r\n\r\n", ""},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\n" + date + "\r\n", ""},

		{"nothing", "GET", "", "EOF"},
		{"another version", "GET", swap("HTTP/1.1", "HTTP/1.0"), "not of HTTP/1.1"},
		{"no space behind the code", "GET", swap("200 OK", "200"), "no status line"},
		{"two digits", "GET", swap("200", "20"), "no status line"},
		{"LF", "GET", strings.ReplaceAll(good, "\r\n", "\n"), "does not end in CRLF"},
		{"CR in a line", "GET", swap("OK", "O\rK"), "a CR"},
		{"space before the colon", "GET", swap("Date:", "Date :"), "no field line"},
		{"a folded line", "GET", swap("text/plain", "text/\r\n plain"), "no field line"},
		{"a control byte", "GET", swap("text/plain", "text\x01plain"), "control byte"},
		{"no Date", "GET", without(date), "IMF-fixdate"},
		{"a date of 2001", "GET", swap(date, "Date: Mon, 01 Jan 2001 00:00:00 GMT\r\n"), "not now"},
		{"another form of date", "GET", swap(date, "Date: "+time.Now().UTC().Format(time.RFC850)+"\r\n"), "IMF-fixdate"},
		{"no Content-Length", "GET", without("Content-Length: 2\r\n"), "without Content-Length"},
		{"two of them", "GET", add("content-length: 2"), "2 Content-Length"},
		{"a plus sign", "GET", swap("Length: 2", "Length: +2"), "Content-Length"},
		{"no Content-Type", "GET", without("Content-Type: text/plain\r\n"), "without Content-Type"},
		{"chunked", "GET", add("Transfer-Encoding: chunked"), "Transfer-Encoding"},
		{"204 with a length", "GET", "HTTP/1.1 204 No Content\r\n" + date + "Content-Length: 0\r\n\r\n", "204"},
		{"405 without Allow", "GET", swap("200 OK", "405 No"), "Allow"},
		{"cut in the head", "GET", good[:30], "EOF"},
		{"cut in the body", "GET", good[:len(good)-1], "body of 2"},
	} {
		r := bufio.NewReader(strings.NewReader(c.raw))
		resp, err := ReadResponse(r, c.method, nil)
		switch {
		case c.fails == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fails == "" && r.Buffered() > 0:
			t.Errorf("%s: %d bytes are left", c.name, r.Buffered())
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: %v, want %q in the error; the response is %v", c.name, err, c.fails, resp)
		}
	}

	// A byte behind the body is the beginning of the next response, and no good one.
	r := bufio.NewReader(strings.NewReader(good + "\r\n" + good))
	if _, err := ReadResponse(r, "GET", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadResponse(r, "GET", nil); err == nil {
		t.Error("CRLF behind a body goes unnoticed")
	}
}
