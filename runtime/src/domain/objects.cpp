// Typed objects of users: domain::create, find and destroy.

#include "cohort/base/bits.hpp"
#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/domain/domain.hpp"
#include "entry_scopes.hpp"

#include <cstdlib>
#include <memory>
#include <string>

#include <fmt/format.h>

#include <cxxabi.h>

namespace cohort {
namespace {

std::uint64_t hash_of(std::string_view mangled) noexcept
{
    return fnv1a(mangled.data(), mangled.size());
}

bool is_of(const object_layout& object, const object_type& type) noexcept
{
    return object.type_hash == hash_of(type.mangled) && object.bytes == type.bytes &&
           object.alignment == type.alignment;
}

void refuse_other(std::string_view name, const object_layout& object, const object_type& type)
{
    throw error{errc::invalid_argument,
                fmt::format("the object \"{}\" is a {} of {} bytes aligned to {}, not a {} of {} "
                            "aligned to {}; build both programs with the type it was created as",
                            name, readable_type(object.type.view()), object.bytes, object.alignment,
                            readable_type(type.mangled), type.bytes, type.alignment)};
}

}  // namespace

std::string readable_type(std::string_view mangled)
{
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> text{
        abi::__cxa_demangle(std::string{mangled}.c_str(), nullptr, nullptr, &status), &std::free};
    return text ? text.get() : std::string{mangled};
}

void* domain::create_object(std::string_view name, const object_type& type,
                            const std::function<void(void*)>& construct)
{
    new_entry entry{memory_,
                    {.name = name,
                     .kind = zone_kind::object,
                     .bytes = type.offset() + type.bytes,
                     .alignment = type.offset()},
                    who()};
    new (entry.data()) object_layout{.type_hash = hash_of(type.mangled),
                                     .bytes = type.bytes,
                                     .alignment = type.alignment,
                                     .type = fixed_name<48>{type.mangled}};
    void* place = static_cast<std::byte*>(entry.data()) + type.offset();
    construct(place);
    COHORT_FAULT_POINT("object.constructed");
    entry.publish();
    return place;
}

void* domain::find_object(std::string_view name, const object_type& type)
{
    const auto* zone = memory_.find(zone_kind::object, name);
    if (!zone)
        return nullptr;
    if (const auto& object = *static_cast<const object_layout*>(zone->data()); !is_of(object, type))
        refuse_other(name, object, type);
    return static_cast<std::byte*>(zone->data()) + type.offset();
}

bool domain::destroy_object(std::string_view name)
{
    return destroy(zone_kind::object, name);
}

}  // namespace cohort
