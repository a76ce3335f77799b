#include "cohort/domain/heap.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

namespace cohort {
namespace {

thread_local heap_failure failure;

std::size_t payload_bytes(const heap_block& block) noexcept
{
    return block.load().units * heap_unit_bytes - sizeof(heap_block);
}

/// Why `free` did not. Apart, so that `free` itself stays short.
[[gnu::cold]] heap_failure refusal_of(heap_blocks::freeing refused)
{
    switch (refused) {
    case heap_blocks::freeing::done: break;
    case heap_blocks::freeing::not_a_block:
        return {errc::invalid_argument, "free got a pointer that is no used block of this heap"};
    case heap_blocks::freeing::not_attached:
        return {errc::not_attached,
                "the heap has memory that this process has not attached, so the block is not "
                "freed; map it at the same address and call attach_memory"};
    case heap_blocks::freeing::stalled:
        return {errc::stalled,
                "the heap's lock is held, so the block is not freed; see \"cohort lanes\""};
    }
    return {};
}

}  // namespace

const heap_failure& heap::last_failure() noexcept
{
    return failure;
}

void* heap::allocate(const heap_request& wanted) noexcept
{
    try {
        auto answer = nodes_ ? ask_nodes(wanted)
                             : blocks().allocate(wanted, self_->who(), self_->self().generation);
        if (answer.block)
            return answer.block->payload();
        failure = {answer.reason, std::move(answer.sentence)};
    } catch (const std::exception&) {
        failure = {errc::no_memory, {}};  // of this process: not even for the sentence
    }
    return nullptr;
}

void* heap::malloc(std::size_t bytes, heap_type type) noexcept
{
    return allocate({.bytes = bytes, .type = type});
}

void* heap::zmalloc(std::size_t bytes, heap_type type) noexcept
{
    auto* block = malloc(bytes, type);
    if (block)
        std::memset(block, 0, bytes);
    return block;
}

void* heap::calloc(std::size_t count, std::size_t bytes, heap_type type) noexcept
{
    std::size_t total = 0;
    if (!__builtin_mul_overflow(count, bytes, &total))
        return zmalloc(total, type);
    failure = {errc::invalid_argument, "the product of calloc's arguments overflows"};
    return nullptr;
}

void* heap::realloc(void* block, std::size_t bytes) noexcept
{
    if (!block)
        return malloc(bytes);
    if (bytes == 0) {
        free(block);
        return nullptr;
    }
    const auto owner = owner_of(block);
    auto* old = owner.blocks().find(block, self_->self().id);
    if (!old) {
        failure = {errc::invalid_argument,
                   "realloc got a pointer that is no used block of this heap"};
        return nullptr;
    }
    if (owner.blocks().resize(block, bytes, self_->who()))
        return block;
    const auto kept =
        (old->load().flags & block_word::mortal) != 0 ? lifetime::member : lifetime::domain;
    const auto type = old->type.load(std::memory_order_relaxed);  // the caller's own block
    auto* moved = allocate({.bytes = bytes, .type = type, .kept = kept});
    if (!moved)
        return nullptr;
    std::memcpy(moved, block, std::min(bytes, payload_bytes(*old)));
    free(block);
    return moved;
}

bool heap::free(void* block) noexcept
{
    if (!block)
        return true;
    if (nodes_) [[unlikely]]
        return free_in_node(block);
    const auto freed = blocks().release(block, self_->who());
    if (freed == heap_blocks::freeing::done) [[likely]]
        return true;
    failure = refusal_of(freed);
    return false;
}

bool heap::free(void* block, std::size_t bytes) noexcept
{
    const auto room = block ? usable_bytes(block) : bytes;
    if (room >= bytes || room == 0)  // 0: no block at all, which free will say
        return free(block);
    failure = {errc::invalid_argument,
               "free was told of more bytes than the block can hold; it stays"};
    return false;
}

bool heap::free_sensitive(void* block) noexcept
{
    if (block)
        ::explicit_bzero(block, usable_bytes(block));
    return free(block);
}

std::size_t heap::usable_bytes(const void* block) const noexcept
{
    const auto* found = owner_of(block).blocks().find(const_cast<void*>(block), self_->self().id);
    return found ? payload_bytes(*found) : 0;
}

std::optional<heap_block_info> heap::info(const void* block) const noexcept
{
    const auto* found = owner_of(block).blocks().find(const_cast<void*>(block), self_->self().id);
    if (!found)
        return std::nullopt;
    return info_of(*found, found->load());
}

heap_type heap::type(std::string_view name) noexcept
{
    return blocks().type(name, self_->who());
}

bool heap::trim() noexcept
{
    return nodes_ ? trim_nodes() : blocks().trim(self_->who());
}

std::optional<std::string> heap::find_fault()
{
    return nodes_ ? find_fault_in_nodes() : blocks().find_fault(self_->who());
}

void* heap_resource::do_allocate(std::size_t bytes, std::size_t alignment)
{
    auto* block = heap_.allocate({.bytes = bytes, .alignment = alignment, .type = type_});
    if (!block)
        throw std::bad_alloc{};
    return block;
}

}  // namespace cohort
