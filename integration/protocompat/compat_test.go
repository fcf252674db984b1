package protocompat

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/holdfast/holdfast/proto/wire"
)

// only names fields that we have and the newest module has not, because older
// daemons send them.
var only = map[string]string{
	"containerd.runc.v1.Options": "CriuPath",
}

// TestTheirMessagesSurviveOurs: every field of every message, encoded by
// them, decoded and encoded by us, decoded by them, is what it was; and under
// the same name in between, so that no two of one type are swapped.
func TestTheirMessagesSurviveOurs(t *testing.T) {
	for _, p := range pairs() {
		t.Run(p.theirs, func(t *testing.T) {
			theirs := newTheirs(t, p.theirs)
			fillTheirs(theirs.ProtoReflect())
			encoded, err := proto.Marshal(theirs)
			if err != nil {
				t.Fatal(err)
			}
			ours := newOurs(p.ours)
			if err := ours.Unmarshal(encoded); err != nil {
				t.Fatal(err)
			}
			sameNames(t, p.theirs, theirs.ProtoReflect(), reflect.ValueOf(ours).Elem())
			again, err := ours.Marshal()
			if err != nil || len(again) != ours.Size() {
				t.Fatalf("Marshal gave %d bytes, Size %d, %v", len(again), ours.Size(), err)
			}
			back := newTheirs(t, p.theirs)
			if err := proto.Unmarshal(again, back); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(theirs, back) {
				t.Errorf("sent\n%v\ncame back as\n%v", theirs, back)
			}
		})
	}
}

// TestOurMessagesSurviveTheirs: the same the other way round; they know every
// field of ours, and with the same type.
func TestOurMessagesSurviveTheirs(t *testing.T) {
	for _, p := range pairs() {
		t.Run(p.theirs, func(t *testing.T) {
			ours := newOurs(p.ours)
			v := reflect.ValueOf(ours).Elem()
			fillOurs(v, v.Type().Name())
			if field := only[p.theirs]; field != "" {
				v.FieldByName(field).SetZero()
			}
			encoded, err := ours.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			theirs := newTheirs(t, p.theirs)
			if err := proto.Unmarshal(encoded, theirs); err != nil {
				t.Fatal(err)
			}
			noUnknown(t, theirs.ProtoReflect())
			again, err := proto.Marshal(theirs)
			if err != nil {
				t.Fatal(err)
			}
			back := newOurs(p.ours)
			if err := back.Unmarshal(again); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(ours, back) {
				t.Errorf("sent\n%+v\ncame back as\n%+v", ours, back)
			}
			if n := proto.Size(theirs); n != ours.Size() {
				t.Errorf("Size is %d, theirs %d", ours.Size(), n)
			}
		})
	}
}

// TestNoPairIsMissing: every message that says what it is on the wire is in
// pairs.
func TestNoPairIsMissing(t *testing.T) {
	known := map[string]bool{}
	for _, p := range pairs() {
		known[reflect.TypeOf(p.ours).Elem().String()] = true
	}
	files, err := filepath.Glob("../../proto/*/*.proto")
	if err != nil || len(files) == 0 {
		t.Fatalf("find .proto files: %v, %v", files, err)
	}
	for _, file := range files {
		pkg := filepath.Base(filepath.Dir(file))
		if pkg == "shimv1" {
			continue // all our own
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^message (\w+)`).FindAllSubmatch(source, -1) {
			if name := pkg + "." + string(m[1]); !known[name] {
				t.Errorf("%s is not compared with anything", name)
			}
		}
	}
}

func newTheirs(t *testing.T, name string) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return kind.New().Interface()
}

func newOurs(like wire.Message) wire.Message {
	return reflect.New(reflect.TypeOf(like).Elem()).Interface().(wire.Message)
}

// sameNames checks that each field of theirs is in ours under its own name.
func sameNames(t *testing.T, path string, theirs protoreflect.Message, ours reflect.Value) {
	t.Helper()
	fields := theirs.Descriptor().Fields()
	if extra := ours.NumField() - fields.Len(); extra != 0 && only[string(theirs.Descriptor().FullName())] == "" {
		t.Errorf("%s: ours has %d fields more", path, extra)
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		name := string(field.Name())
		v := ours.FieldByNameFunc(func(s string) bool {
			return strings.EqualFold(s, strings.ReplaceAll(name, "_", ""))
		})
		if !v.IsValid() {
			t.Errorf("%s: ours has no field %s", path, name)
			continue
		}
		sameValue(t, path+"."+name, field, theirs.Get(field), v)
	}
}

func sameValue(t *testing.T, path string, field protoreflect.FieldDescriptor, theirs protoreflect.Value, ours reflect.Value) {
	t.Helper()
	switch {
	case field.IsMap():
		if ours.Len() != theirs.Map().Len() {
			t.Errorf("%s has %d entries", path, ours.Len())
		}
	case field.IsList():
		if ours.Len() != theirs.List().Len() {
			t.Errorf("%s has %d elements", path, ours.Len())
			return
		}
		for i := range ours.Len() {
			sameElement(t, path, field, theirs.List().Get(i), ours.Index(i))
		}
	default:
		sameElement(t, path, field, theirs, ours)
	}
}

func sameElement(t *testing.T, path string, field protoreflect.FieldDescriptor, theirs protoreflect.Value, ours reflect.Value) {
	t.Helper()
	var same bool
	switch field.Kind() {
	case protoreflect.MessageKind:
		sameNames(t, path, theirs.Message(), ours.Elem())
		return
	case protoreflect.StringKind:
		same = ours.String() == theirs.String()
	case protoreflect.BytesKind:
		same = bytes.Equal(ours.Bytes(), theirs.Bytes())
	case protoreflect.BoolKind:
		same = ours.Bool() == theirs.Bool()
	case protoreflect.EnumKind:
		same = ours.Int() == int64(theirs.Enum())
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		same = ours.Int() == theirs.Int()
	case protoreflect.DoubleKind:
		same = ours.Float() == theirs.Float()
	default:
		same = ours.Uint() == theirs.Uint()
	}
	if !same {
		t.Errorf("%s is %v, theirs %v", path, ours, theirs)
	}
}

// noUnknown checks that every field of the message, and of those in it, is
// known.
func noUnknown(t *testing.T, m protoreflect.Message) {
	t.Helper()
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		t.Errorf("%s does not know % x", m.Descriptor().FullName(), unknown)
	}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsMap() || field.Message() == nil:
		case field.IsList():
			for i := range v.List().Len() {
				noUnknown(t, v.List().Get(i).Message())
			}
		default:
			noUnknown(t, v.Message())
		}
		return true
	})
}
