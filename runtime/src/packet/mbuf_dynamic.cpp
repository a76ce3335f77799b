#include "cohort/packet/mbuf_dynamic.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace cohort {
namespace {

[[noreturn]] void refuse(errc code, const std::string& sentence)
{
    throw error{code, sentence};
}

void check_name(std::string_view name)
{
    constexpr std::size_t longest = 63;
    if (name.empty())
        refuse(errc::invalid_argument, "a dynamic field or flag needs a name");
    if (name.size() > longest)
        refuse(errc::name_too_long, fmt::format("the name \"{}\" has {} characters; at most {} fit",
                                                name, name.size(), longest));
}

void check(const dynfield_params& wanted, std::optional<std::size_t> offset)
{
    check_name(wanted.name);
    if (wanted.size == 0 || wanted.size > sizeof(mbuf) || !std::has_single_bit(wanted.align) ||
        wanted.flags != 0)
        refuse(errc::invalid_argument,
               fmt::format("the field \"{}\" has {} bytes, alignment {} and flags {:#x}; 1 to {} "
                           "bytes, a power of two and 0 are allowed",
                           wanted.name, wanted.size, wanted.align, wanted.flags, sizeof(mbuf)));
    if (offset && *offset % wanted.align != 0)
        refuse(errc::invalid_argument,
               fmt::format("the field \"{}\" is to lie at {}, which is no multiple of {}",
                           wanted.name, *offset, wanted.align));
}

}  // namespace

const mbuf_dynamic_entry* mbuf_dynamics::find(dynamic_kind kind,
                                              std::string_view name) const noexcept
{
    for (const auto& entry : layout_.entries)
        if (entry.counts() && entry.kind == kind && entry.name == name)
            return &entry;
    return nullptr;
}

bool mbuf_dynamics::is_free(std::size_t offset, std::size_t size) const noexcept
{
    return offset >= dynfield_begin && offset <= dynfield_end && size <= dynfield_end - offset &&
           std::ranges::none_of(layout_.entries, [&](const mbuf_dynamic_entry& entry) {
               return entry.counts() && entry.kind == dynamic_kind::field &&
                      entry.place < offset + size && offset < entry.place + entry.size;
           });
}

bool mbuf_dynamics::is_free(unsigned bit) const noexcept
{
    return bit >= mbuf_flag::first_dynamic && bit <= mbuf_flag::last_dynamic &&
           std::ranges::none_of(layout_.entries, [&](const mbuf_dynamic_entry& entry) {
               return entry.counts() && entry.kind == dynamic_kind::flag && entry.place == bit;
           });
}

void mbuf_dynamics::publish(const mbuf_dynamic_entry& made, std::string_view name)
{
    const auto entry =
        std::ranges::find_if(layout_.entries, [](const auto& any) { return !any.counts(); });
    if (entry == std::end(layout_.entries))
        refuse(errc::no_space, fmt::format("there is no entry left for \"{}\"", name));
    entry->kind = made.kind;
    entry->place = made.place;
    entry->size = made.size;
    entry->align = made.align;
    entry->flags = made.flags;
    entry->name = fixed_name<64>{name};
    COHORT_FAULT_POINT("mbuf.described");
    entry->state.store(1, std::memory_order_release);  // DYNAMIC
}

std::size_t mbuf_dynamics::add(const dynfield_params& wanted, std::optional<std::size_t> offset)
{
    check(wanted, offset);
    if (const auto* known = find(dynamic_kind::field, wanted.name)) {
        if (known->size != wanted.size || known->align != wanted.align ||
            (offset && *offset != known->place))
            refuse(errc::exists,
                   fmt::format("the field \"{}\" exists with {} bytes and alignment {} at {}",
                               wanted.name, known->size, known->align, known->place));
        return known->place;
    }
    auto place = offset.value_or(align_up(dynfield_begin, wanted.align));
    if (offset && !is_free(place, wanted.size))
        refuse(errc::in_use, fmt::format("the field \"{}\" is to lie at {}, where others lie or "
                                         "none may: {} to {} are for dynamic fields",
                                         wanted.name, place, dynfield_begin, dynfield_end));
    while (!is_free(place, wanted.size))
        if ((place += wanted.align) >= dynfield_end)
            refuse(errc::no_space,
                   fmt::format("the field \"{}\" of {} bytes finds no room in the mbuf's {}",
                               wanted.name, wanted.size, dynfield_end - dynfield_begin));
    mbuf_dynamic_entry entry;
    entry.kind = dynamic_kind::field;
    entry.place = static_cast<std::uint32_t>(place);
    entry.size = static_cast<std::uint32_t>(wanted.size);
    entry.align = static_cast<std::uint32_t>(wanted.align);
    publish(entry, wanted.name);
    return place;
}

unsigned mbuf_dynamics::add(const dynflag_params& wanted, std::optional<unsigned> bit)
{
    check_name(wanted.name);
    if (wanted.flags != 0 || (bit && *bit >= 64))
        refuse(errc::invalid_argument,
               fmt::format("the flag \"{}\" asks for bit {} and flags {:#x}", wanted.name,
                           bit.value_or(0), wanted.flags));
    if (const auto* known = find(dynamic_kind::flag, wanted.name)) {
        if (bit && *bit != known->place)
            refuse(errc::exists,
                   fmt::format("the flag \"{}\" exists as bit {}", wanted.name, known->place));
        return known->place;
    }
    auto place = bit.value_or(mbuf_flag::first_dynamic);
    if (bit && !is_free(place))
        refuse(errc::in_use,
               fmt::format("the flag \"{}\" is to be bit {}, which is taken or none "
                           "of {} to {}",
                           wanted.name, place, mbuf_flag::first_dynamic, mbuf_flag::last_dynamic));
    while (!is_free(place))
        if (++place > mbuf_flag::last_dynamic)
            refuse(errc::no_space,
                   fmt::format("the flag \"{}\" finds all {} bits taken", wanted.name,
                               mbuf_flag::last_dynamic - mbuf_flag::first_dynamic + 1));
    mbuf_dynamic_entry entry;
    entry.kind = dynamic_kind::flag;
    entry.place = place;
    publish(entry, wanted.name);
    return place;
}

}  // namespace cohort
