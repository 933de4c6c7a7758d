package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Field is one field line of a response.
type Field struct{ Name, Value string }

// A Response is a final response and its interim ones.
type Response struct {
	Status  int
	Reason  string
	Fields  []Field
	Body    []byte
	Interim []int // the statuses of the 1xx responses before it
}

// Get returns the value of the first field of that name, or "".
func (r *Response) Get(name string) string {
	if all := r.Values(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// Values returns the values of all fields of that name.
func (r *Response) Values(name string) []string {
	var all []string
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return all
}

// Has reports whether the comma-separated list in a field contains the token, in any letter case.
func (r *Response) Has(name, token string) bool {
	for _, v := range r.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

func (r *Response) String() string {
	kind := "of " + r.Get("Content-Type")
	if kind == "of " {
		kind = "without a Content-Type"
	}
	return fmt.Sprintf("%d %s, %d bytes %s", r.Status, r.Reason, len(r.Body), kind)
}

// A Malformed error lists what is wrong with a response that could be read to its end. ReadResponse
// returns the Response with it.
type Malformed struct{ problems []string }

// Tolerates reports whether a breach of a claim of docs/spec.md does not matter to the caller. A nil Tolerates
// tolerates nothing.
type Tolerates func(claim string) bool

func (t Tolerates) the(claim string) bool { return t != nil && t(claim) }

func (m *Malformed) Error() string { return "response: " + strings.Join(m.problems, "; ") }

// single lists the fields that a response may have only once.
var single = []string{
	"Content-Length", "Content-Type", "Content-Range", "Date", "ETag", "Last-Modified", "Location",
	"Accept-Ranges", "X-Content-Type-Options", "Allow", "Connection",
}

// imfFixdate is the only date format that a sender may use (RFC 9110 §5.6.7).
const imfFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// ReadResponse reads one final response and the interim ones before it. It reads no byte beyond the
// Content-Length. If body is not nil, ReadResponse passes the body to it instead of keeping it.
func ReadResponse(r *bufio.Reader, method string, body func(*Response, io.Reader) error) (*Response, error) {
	return ReadTolerantly(r, method, body, nil)
}

// ReadTolerantly is ReadResponse for a server that somebody else wrote. What it lacks should fail the cases about
// that and no others, so the caller can tolerate that the version is 1.0 (resp-status-line), that Date (resp-date),
// Content-Type (resp-content-type) or Allow (method-405) is missing, and that a response without Content-Length
// (resp-length) ends with the connection.
func ReadTolerantly(r *bufio.Reader, method string, body func(*Response, io.Reader) error, tolerates Tolerates) (*Response, error) {
	var interim []int
	for {
		resp, bad, err := readHead(r, tolerates)
		if err != nil {
			return nil, err
		}
		if resp.Status >= 100 && resp.Status < 200 {
			if len(resp.Fields) > 0 && resp.Get("Content-Length") != "" {
				bad = append(bad, "a 1xx with Content-Length")
			}
			if len(bad) > 0 {
				return resp, &Malformed{bad}
			}
			interim = append(interim, resp.Status)
			continue
		}
		resp.Interim = interim
		n, more := checkFields(resp, method, tolerates)
		bad = append(bad, more...)
		switch {
		case method == "HEAD" || resp.Status == 204 || resp.Status == 304:
			n = 0
		case n < 0:
			return readToEnd(r, resp, body)
		}
		err = readBody(r, resp, n, body)
		if err == nil && len(bad) > 0 {
			err = &Malformed{bad}
		}
		return resp, err
	}
}

func readBody(r *bufio.Reader, resp *Response, n int64, body func(*Response, io.Reader) error) error {
	if body != nil {
		if err := body(resp, io.LimitReader(r, n)); err != nil {
			return fmt.Errorf("in a body with a Content-Length of %d: %w", n, err)
		}
		return nil
	}
	resp.Body = make([]byte, n)
	if got, err := io.ReadFull(r, resp.Body); err != nil {
		resp.Body = resp.Body[:got]
		return fmt.Errorf("after %d bytes of a body of %d: %w", got, n, err)
	}
	return nil
}

// readToEnd reads a body that ends with the connection.
func readToEnd(r *bufio.Reader, resp *Response, body func(*Response, io.Reader) error) (_ *Response, err error) {
	if body != nil {
		err = body(resp, r)
	} else {
		resp.Body, err = io.ReadAll(r)
	}
	if err != nil {
		err = fmt.Errorf("after %d bytes of a body without Content-Length, which ends only with the connection: %w", len(resp.Body), err)
	}
	return resp, err
}

func readHead(r *bufio.Reader, tolerates Tolerates) (*Response, []string, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, nil, err
	}
	resp := &Response{}
	version, rest, _ := strings.Cut(line, " ")
	code, reason, ok := strings.Cut(rest, " ")
	resp.Status, err = strconv.Atoi(code)
	if version == "HTTP/1.0" && tolerates.the("resp-status-line") {
		version = "HTTP/1.1"
	}
	if version != "HTTP/1.1" || !ok || len(code) != 3 || err != nil || resp.Status < 100 || resp.Status > 599 {
		if version == "HTTP/1.0" && ok {
			return nil, nil, fmt.Errorf("response: %q is not of HTTP/1.1", line)
		}
		return nil, nil, fmt.Errorf("response: %q is no status line", line)
	}
	resp.Reason = reason
	var bad []string
	for {
		line, err := readLine(r)
		if err != nil {
			return nil, nil, fmt.Errorf("in the head of a %d: %w", resp.Status, err)
		}
		if line == "" {
			return resp, bad, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !IsToken(name) {
			return nil, nil, fmt.Errorf("response: %q is no field line", line)
		}
		value = strings.Trim(value, " \t")
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			bad = append(bad, fmt.Sprintf("a control byte in %q", line))
		}
		resp.Fields = append(resp.Fields, Field{name, value})
	}
}

// readLine reads a line, which must end in CRLF, and returns it without the CRLF.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	switch {
	case err == io.EOF && line != "":
		return "", fmt.Errorf("the connection ends in the middle of the line %q: %w", line, io.ErrUnexpectedEOF)
	case err != nil:
		return "", err
	case !strings.HasSuffix(line, "\r\n"):
		return "", fmt.Errorf("response: %q does not end in CRLF", line)
	}
	line = line[:len(line)-2]
	if strings.ContainsAny(line, "\r\x00") {
		return "", fmt.Errorf("response: %q contains a CR or a NUL", line)
	}
	return line, nil
}

// checkFields checks the rules for every final response. It returns the length of the body and the
// rules that the response breaks. The length is -1 if it is missing, which is tolerated.
func checkFields(resp *Response, method string, tolerates Tolerates) (length int64, bad []string) {
	complain := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	for _, name := range single {
		if all := resp.Values(name); len(all) > 1 {
			complain("%d %s fields: %q", len(all), name, all)
		}
	}
	date, err := time.Parse(imfFixdate, resp.Get("Date"))
	switch {
	case resp.Get("Date") == "" && tolerates.the("resp-date"):
	case err != nil || date.Format(imfFixdate) != resp.Get("Date"):
		complain("Date: %q is not an IMF-fixdate", resp.Get("Date"))
	case time.Since(date).Abs() > time.Minute:
		complain("Date: %q is more than a minute off", resp.Get("Date"))
	}
	if te := resp.Get("Transfer-Encoding"); te != "" {
		complain("Transfer-Encoding: %s", te)
	}
	text := resp.Get("Content-Length")
	hasLength := len(resp.Values("Content-Length")) > 0
	length, err = strconv.ParseInt(text, 10, 64)
	switch {
	case resp.Status == 204 && hasLength:
		complain("204 with Content-Length") // RFC 9110 §8.6
	case hasLength && (err != nil || length < 0 || strconv.FormatInt(length, 10) != text):
		complain("Content-Length: %q", text)
		length = 0
	case !hasLength && resp.Status != 204 && resp.Status != 304 && tolerates.the("resp-length"):
		length = -1
	case !hasLength && resp.Status != 204 && resp.Status != 304:
		complain("a %d to %s without Content-Length", resp.Status, method)
	}
	if length > 0 && resp.Status != 304 && resp.Get("Content-Type") == "" && !tolerates.the("resp-content-type") {
		complain("a body without Content-Type")
	}
	if resp.Status == 405 && resp.Get("Allow") == "" && !tolerates.the("method-405") {
		complain("405 without Allow") // RFC 9110 §15.5.6
	}
	if c := resp.Get("Connection"); c != "" && !strings.EqualFold(c, "close") && !strings.EqualFold(c, "keep-alive") {
		complain("Connection: %s", c)
	}
	return length, bad
}

// IsToken reports whether s is a token (RFC 9110 §5.6.2).
func IsToken(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool { return !TokenByte(c) })
}

// TokenByte reports whether a token may contain c.
func TokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// Closed reports whether err is the end of a connection between two messages, by a FIN.
func Closed(err error) bool { return errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) }
