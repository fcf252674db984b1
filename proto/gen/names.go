package main

import (
	"strings"

	"github.com/gogo/protobuf/gogoproto"
	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/protoc-gen-gogo/descriptor"
	"github.com/gogo/protobuf/protoc-gen-gogo/generator"
	"github.com/gogo/protobuf/vanity"
)

// adorn sets the options that gogo's generator is steered by, so that the
// .proto files themselves need none: lean messages and Go's own names.
func adorn(file *descriptor.FileDescriptorProto) {
	for _, set := range []func(*descriptor.FileDescriptorProto){
		vanity.TurnOnMarshalerAll,
		vanity.TurnOnSizerAll,
		vanity.TurnOnUnmarshalerAll,
		vanity.TurnOffGoGettersAll,
		vanity.TurnOffGoStringerAll,
		vanity.TurnOffGoEnumStringerAll,
		vanity.TurnOffGoEnumPrefixAll,
		vanity.TurnOffGoUnrecognizedAll,
		vanity.TurnOffGoUnkeyedAll,
		vanity.TurnOffGoSizecacheAll,
	} {
		set(file)
	}
	vanity.ForEachFieldExcludingExtensions(file.MessageType, nameField)
	vanity.ForEachEnumInFiles([]*descriptor.FileDescriptorProto{file}, nameValues)
}

// nameField gives a field its Go name where that is not plain CamelCase.
func nameField(field *descriptor.FieldDescriptorProto) {
	name := fieldName(field.GetName())
	if name == generator.CamelCase(field.GetName()) {
		return
	}
	if field.Options == nil {
		field.Options = &descriptor.FieldOptions{}
	}
	setString(field.Options, gogoproto.E_Customname, name)
}

// fieldName returns the Go name of a field: CamelCase with ID as a word in
// capitals, and IO where it is the whole name.
func fieldName(name string) string {
	if name == "io" {
		return "IO"
	}
	words := strings.Split(name, "_")
	for i, word := range words {
		if word == "id" {
			words[i] = "ID"
			continue
		}
		words[i] = generator.CamelCase(word)
	}
	return strings.Join(words, "")
}

// nameValues turns the values of an enumeration from LOG_LEVEL_INFO into
// LogLevelInfo.
func nameValues(enum *descriptor.EnumDescriptorProto) {
	for _, value := range enum.Value {
		if value.Options == nil {
			value.Options = &descriptor.EnumValueOptions{}
		}
		setString(value.Options, gogoproto.E_EnumvalueCustomname, generator.CamelCase(strings.ToLower(value.GetName())))
	}
}

// setString sets an option. It fails only for an option that is no string,
// which would be a mistake in this file.
func setString(options proto.Message, option *proto.ExtensionDesc, value string) {
	if err := proto.SetExtension(options, option, &value); err != nil {
		panic(err)
	}
}
