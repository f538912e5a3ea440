package fleet

import (
	"fmt"
	"strings"

	"github.com/waxwing-ota/waxwing/firmware"
)

// parser reads the grammar of ParseSelector.
type parser struct {
	text string
	at   int
}

func (p *parser) term() (term, error) {
	var t term
	p.skip()
	t.not = p.take("!")
	p.skip()
	begin := p.at
	t.key = p.word("._+-")
	if t.key == "" {
		return t, p.errorf("a key is expected, such as site")
	}
	if err := firmware.CheckName("key", t.key); err != nil {
		p.at = begin
		return t, p.errorf("%v", err)
	}
	p.skip()
	if t.not || p.end() || p.next() == ',' {
		return t, nil
	}
	var err error
	switch begin := p.at; {
	case p.take("!="):
		t.not = true
		t.values, err = p.one()
	case p.take("="):
		p.take("=")
		t.values, err = p.one()
	case p.keyword("in"):
		t.values, err = p.list()
	case p.keyword("notin"):
		t.not = true
		t.values, err = p.list()
	default:
		p.at = begin
		err = p.errorf("after %q one of = != in notin is expected, or a comma", t.key)
	}
	return t, err
}

func (p *parser) one() ([]string, error) {
	v, err := p.value()
	return []string{v}, err
}

func (p *parser) list() ([]string, error) {
	if p.skip(); !p.take("(") {
		return nil, p.errorf("( is expected, such as in (a, b)")
	}
	var values []string
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		p.skip()
		switch {
		case p.take(")"):
			return values, nil
		case !p.take(","):
			return nil, p.errorf("a comma or ) is expected")
		}
	}
}

func (p *parser) value() (string, error) {
	p.skip()
	if !p.take(`"`) {
		if v := p.word("._+-:/@"); v != "" {
			return v, nil
		}
		return "", p.errorf("a value is expected; put it between double quotes if it has other signs than letters, digits and . _ + - : / @")
	}
	begin := p.at - 1
	var b strings.Builder
	for !p.end() {
		c := p.next()
		p.at++
		switch {
		case c == '"':
			return b.String(), nil
		case c == '\\' && !p.end() && (p.next() == '"' || p.next() == '\\'):
			b.WriteByte(p.next())
			p.at++
		default:
			b.WriteByte(c)
		}
	}
	p.at = begin
	return "", p.errorf("this quote is never closed")
}

func (p *parser) word(more string) string {
	begin := p.at
	for !p.end() {
		c := p.next()
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(more, c) < 0 {
			break
		}
		p.at++
	}
	return p.text[begin:p.at]
}

// keyword takes a word only when it stands alone.
func (p *parser) keyword(w string) bool {
	begin := p.at
	if p.word("._+-") == w {
		return true
	}
	p.at = begin
	return false
}

func (p *parser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

func (p *parser) skip() {
	for !p.end() && (p.next() == ' ' || p.next() == '\t') {
		p.at++
	}
}

func (p *parser) end() bool  { return p.at == len(p.text) }
func (p *parser) next() byte { return p.text[p.at] }

func (p *parser) rest() string {
	r := p.text[p.at:]
	return r[:min(len(r), 20)]
}

func (p *parser) errorf(format string, a ...any) error {
	return &SelectorError{Column: p.at + 1, Text: fmt.Sprintf(format, a...)}
}
