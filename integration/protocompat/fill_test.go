package protocompat

import (
	"fmt"
	"hash/fnv"
	"reflect"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// fillTheirs sets every field of m to something that belongs to it alone.
func fillTheirs(m protoreflect.Message) {
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		switch {
		case field.IsMap():
			m.Mutable(field).Map().Set(protoreflect.ValueOfString("key").MapKey(), scalar(field.MapValue(), 0))
		case field.IsList():
			list := m.Mutable(field).List()
			for n := range 2 {
				if field.Message() == nil {
					list.Append(scalar(field, n))
					continue
				}
				fillTheirs(list.AppendMutable().Message())
			}
		case field.Message() != nil:
			fillTheirs(m.Mutable(field).Message())
		default:
			m.Set(field, scalar(field, 0))
		}
	}
}

// scalar makes a value for a field from its name and n.
func scalar(field protoreflect.FieldDescriptor, n int) protoreflect.Value {
	text := fmt.Sprintf("%s %d", field.FullName(), n)
	number := hash(text)
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(-int32(number >> 1))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(number)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(-int64(number) << 20)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(number) << 30)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(number) / 3)
	}
	panic("no value for " + field.Kind().String())
}

// fillOurs sets v, a message or field of ours, to something that belongs to
// the name alone.
func fillOurs(v reflect.Value, name string) {
	number := hash(name)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillOurs(v.Field(i), name+"."+v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillOurs(v.Elem(), name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillOurs(v.Index(i), fmt.Sprint(name, i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"key": name}))
	case reflect.String:
		v.SetString(name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(uint64(number & 0xff))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(number))
	case reflect.Int32, reflect.Int64:
		v.SetInt(-int64(number >> 1))
	case reflect.Float64:
		v.SetFloat(float64(number) / 3)
	default:
		panic("no value for " + v.Kind().String())
	}
}

func hash(text string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(text))
	return h.Sum32() | 1<<31 | 1
}
