package jsontext_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast/holdfast/proto/jsontext"
)

var documents = []string{
	`null`, `true`, `false`, `0`, `-0`, `-1`, `12.5e+3`, `1E-9`, `""`, `"a"`, `{}`, `[]`,
	` { "a" : [ 1 , { "b" : null } ] , "a" : 2 } `, "\t\r\n1\n",
	`"\u00e9\ud83d\ude00\ud83d\u0041\udc00\"\\\/\b\f\n\r\t"`, "\"\xff\xc3(\"", "{\"\xff\":1}", `{"\u0061":1}`,
	`9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `18446744073709551615`, `1.0`, `1e3`,
	// wrong ones
	``, ` `, `nul`, `truee`, `+1`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `"`, `"\x"`, `"\u12g4"`, "\"\n\"",
	`[`, `[1,]`, `[1 2]`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `1 1`, "\x00", "[1]\x00", `]`, "\ufeff1",
}

// same holds every reading function against encoding/json on one document.
func same(t *testing.T, doc []byte) {
	t.Helper()
	valid := jsontext.Valid(doc) == nil
	if want := json.Valid(doc); valid != want {
		t.Fatalf("Valid(%q) = %v, encoding/json says %v", doc, valid, want)
	}
	if _, ok := jsontext.Get(doc); ok != valid {
		t.Fatalf("Get(%q) = %v", doc, ok)
	}
	if !valid {
		if _, err := jsontext.String(doc); err == nil {
			t.Fatalf("String(%q) worked", doc)
		}
		return
	}
	var i int64
	got, err := jsontext.Int(doc)
	if want := json.Unmarshal(doc, &i); isNull(doc) {
		if err == nil {
			t.Fatalf("null is no integer")
		}
	} else if (err == nil) != (want == nil) || got != i && err == nil {
		t.Fatalf("Int(%q) = %d, %v; encoding/json: %d, %v", doc, got, err, i, want)
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
		t.Fatal(err)
	} else if err == nil {
		sameValue(t, doc, v)
	}
}

func isNull(doc []byte) bool { return string(bytes.TrimSpace(doc)) == "null" }

func sameValue(t *testing.T, raw []byte, want any) {
	t.Helper()
	switch want := want.(type) {
	case string:
		if got, err := jsontext.String(raw); err != nil || got != want {
			t.Fatalf("String(%q) = %q, %v; want %q", raw, got, err, want)
		}
	case bool:
		if got, err := jsontext.Bool(raw); err != nil || got != want {
			t.Fatalf("Bool(%q) = %v, %v", raw, got, err)
		}
	case []any:
		i := 0
		for elem := range jsontext.Array(raw) {
			sameValue(t, elem, want[i])
			i++
		}
		if i != len(want) {
			t.Fatalf("Array(%q) has %d elements, want %d", raw, i, len(want))
		}
	case map[string]any:
		seen := map[string]bool{}
		for key := range jsontext.Object(raw) {
			seen[key] = true
		}
		if len(seen) != len(want) {
			t.Fatalf("Object(%q) has %v, want %v", raw, seen, want)
		}
		for key, val := range want {
			got, ok := jsontext.Get(raw, key)
			if !ok {
				t.Fatalf("Get(%q, %q) found nothing", raw, key)
			}
			sameValue(t, got, val)
		}
	}
}

func TestReadsAsEncodingJSON(t *testing.T) {
	for _, doc := range documents {
		same(t, []byte(doc))
	}
}

func FuzzReadsAsEncodingJSON(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if bytes.Count(doc, []byte("["))+bytes.Count(doc, []byte("{")) > jsontext.MaxDepth {
			t.Skip("deeper than encoding/json's limit is a difference we want")
		}
		same(t, doc)
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x1f\"\\\n\r\t\x7f\u2028é😀\xff")
	f.Fuzz(func(t *testing.T, s string) {
		raw := jsontext.AppendString(nil, s)
		var want string
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("AppendString(%q) = %q: %v", s, raw, err)
		}
		if want != strings.ToValidUTF8(s, "\ufffd") && !strings.Contains(want, "\ufffd") {
			t.Fatalf("AppendString(%q) reads as %q", s, want)
		}
		if got, err := jsontext.String(raw); err != nil || got != want {
			t.Fatalf("String(%q) = %q, %v; want %q", raw, got, err, want)
		}
	})
}

func FuzzSet(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc), "a", []byte(`"new"`))
	}
	f.Add([]byte(`{"a":1,"\u0061":2 , "b":[3]}`), "a", []byte(` {"x":1} `))
	f.Fuzz(func(t *testing.T, doc []byte, key string, val []byte) {
		var want map[string]any
		var newVal any
		oracle := json.Unmarshal(doc, &want) == nil && want != nil && json.Unmarshal(val, &newVal) == nil
		got, err := jsontext.Set(doc, key, val)
		if !oracle {
			return // numbers out of range are an error only there
		}
		if err != nil {
			if bytes.Count(doc, []byte("["))+bytes.Count(doc, []byte("{")) > jsontext.MaxDepth {
				return
			}
			t.Fatalf("Set(%q, %q, %q): %v", doc, key, val, err)
		}
		want[strings.ToValidUTF8(key, "\ufffd")] = newVal
		var have map[string]any
		if err := json.Unmarshal(got, &have); err != nil {
			t.Fatalf("Set made %q: %v", got, err)
		}
		if strings.ToValidUTF8(key, "") == key && !reflect.DeepEqual(have, want) {
			t.Fatalf("Set(%q, %q, %q) = %q", doc, key, val, got)
		}
	})
}

func TestSetKeepsTheRest(t *testing.T) {
	for _, c := range []struct{ raw, key, val, want string }{
		{`{}`, "a", `1`, `{"a":1}`},
		{`{ }`, "a", `1`, `{ "a":1}`},
		{`{"b" : 2 }`, "a", `1`, `{"b" : 2 ,"a":1}`},
		{`{"a" : 2 , "b":3}`, "a", `[]`, `{"a" : [] , "b":3}`},
		{`{"a":{"a":1}}`, "a", ` 7 `, `{"a":7}`},
		{`{"x":{"a":1}}`, "a", `7`, `{"x":{"a":1},"a":7}`},
		{`{"a":1,"a":2}`, "a", `3`, `{"a":1,"a":3}`},
		{` {"a":1} `, "a", `3`, `{"a":3}`},
	} {
		in := append([]byte(c.raw), "spare"...)[:len(c.raw)]
		got, err := jsontext.Set(in, c.key, []byte(c.val))
		if err != nil || string(got) != c.want {
			t.Errorf("Set(%s, %s, %s) = %s, %v; want %s", c.raw, c.key, c.val, got, err, c.want)
		}
		if string(in) != c.raw {
			t.Errorf("Set changed its argument to %s", in)
		}
	}
	for _, c := range [][2]string{{`[]`, `1`}, {`{`, `1`}, {`{}`, ``}, {`{}`, `x`}, {`null`, `1`}} {
		if got, err := jsontext.Set([]byte(c[0]), "a", []byte(c[1])); err == nil {
			t.Errorf("Set(%s, a, %s) = %s", c[0], c[1], got)
		}
	}
}

func TestGetFollowsAPath(t *testing.T) {
	doc := []byte(` {"process":{"terminal":true,"args":["a","b"]},"x":null} `)
	if raw, ok := jsontext.Get(doc, "process", "terminal"); !ok || string(raw) != "true" {
		t.Errorf("process.terminal = %s, %v", raw, ok)
	}
	if raw, ok := jsontext.Get(doc, "x"); !ok || string(raw) != "null" {
		t.Errorf("x = %s, %v", raw, ok)
	}
	for _, path := range [][]string{{"nope"}, {"process", "nope"}, {"x", "y"}, {"process", "args", "0"}} {
		if raw, ok := jsontext.Get(doc, path...); ok {
			t.Errorf("%v = %s", path, raw)
		}
	}
	raw, _ := jsontext.Get(doc, "process", "args")
	if list, err := jsontext.Strings(raw); err != nil || !reflect.DeepEqual(list, []string{"a", "b"}) {
		t.Errorf("args = %q, %v", list, err)
	}
	if _, err := jsontext.Strings([]byte(`[1]`)); !errors.Is(err, jsontext.ErrType) {
		t.Errorf("Strings([1]): %v", err)
	}
}

func TestIterationStopsWhenAsked(t *testing.T) {
	for range jsontext.Array([]byte(`[1,2,3]`)) {
		break
	}
	for range jsontext.Object([]byte(`{"a":1,"b":2}`)) {
		break
	}
	for range jsontext.Array([]byte(`{"a":1}`)) {
		t.Error("an object is no array")
	}
}

func TestLimits(t *testing.T) {
	nest := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if err := jsontext.Valid(nest(jsontext.MaxDepth)); err != nil {
		t.Errorf("depth %d: %v", jsontext.MaxDepth, err)
	}
	var syntax *jsontext.SyntaxError
	if err := jsontext.Valid(nest(jsontext.MaxDepth + 1)); !errors.As(err, &syntax) || syntax.Offset != jsontext.MaxDepth {
		t.Errorf("depth %d: %v", jsontext.MaxDepth+1, err)
	}
	big := bytes.Repeat([]byte(" "), jsontext.MaxSize+1)
	big[0] = '1'
	if err := jsontext.Valid(big); err == nil {
		t.Error("a document over MaxSize was accepted")
	}
}

func TestBuilder(t *testing.T) {
	var b jsontext.Builder
	if got := string(b.Bytes()); got != "{}" {
		t.Errorf("empty builder: %s", got)
	}
	b.String("s", "a\"b").Int("i", -1).Uint("u", 1<<63).Strings("l", []string{"x", "y"}).Strings("n", nil).
		Object("o", func(b *jsontext.Builder) {
			b.Bool("yes", true).String("brace", "{").Object("", func(b *jsontext.Builder) { b.Int("", 0) })
		}).Object("e", func(*jsontext.Builder) {}).Bool("z", false)
	want := `{"s":"a\"b","i":-1,"u":9223372036854775808,"l":["x","y"],"n":[],"o":{"yes":true,"brace":"{","":{"":0}},"e":{},"z":false}`
	got := b.Bytes()
	if string(got) != want {
		t.Errorf("built %s, want %s", got, want)
	}
	if err := jsontext.Valid(got); err != nil {
		t.Error(err)
	}
	if again := string(b.String("next", "one").Bytes()); again != `{"next":"one"}` || string(got) != want {
		t.Errorf("built %s beside %s", again, got)
	}
}
