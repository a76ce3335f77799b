#include "allocators.hpp"

#include "cohort/secondary/secondary.hpp"

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include <dlfcn.h>

namespace cohort::bench {
namespace {

constexpr auto domain_name = "bench";

std::unique_ptr<primary::owner> owner;
std::unique_ptr<secondary::attachment> attachment;
std::unique_ptr<heap> ours;

template <typename Function>
Function symbol(void* library, const char* name)
{
    return reinterpret_cast<Function>(::dlsym(library, name));
}

void* load(std::initializer_list<const char*> names)
{
    for (const auto* name : names)
        if (auto* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL))
            return library;
    return nullptr;
}

}  // namespace

allocator glibc_malloc()
{
    return {"glibc", std::malloc, std::free};
}

std::unique_ptr<allocator> mimalloc()
{
    auto* library = load({"libmimalloc.so.2.0", "libmimalloc.so.2", "libmimalloc.so"});
    if (!library)
        return nullptr;
    return std::make_unique<allocator>(
        allocator{"mimalloc", symbol<void* (*)(std::size_t)>(library, "mi_malloc"),
                  symbol<void (*)(void*)>(library, "mi_free")});
}

std::unique_ptr<allocator> dpdk_malloc(role as, std::size_t megabytes,
                                       const std::string& huge_directory)
{
    if (!eal())
        return nullptr;
    if (!start_eal({.as = as,
                    .prefix = dpdk_prefix,
                    .processor = as == role::primary ? 0 : 1,
                    .megabytes = megabytes,
                    .huge_directory = huge_directory})) {
        fmt::print(stderr, "DPDK is installed but does not start; its rows are left out\n");
        return nullptr;
    }
    return std::make_unique<allocator>(
        allocator{"dpdk", [](std::size_t bytes) { return eal()->allocate(nullptr, bytes, 0); },
                  [](void* block) { eal()->release(block); }});
}

allocator cohort_malloc(role as, std::size_t megabytes)
{
    if (as == role::primary) {
        owner = primary::start({.name = domain_name, .memory = megabytes * 1_MiB});
        ours = std::make_unique<heap>(owner->heap());
    } else {
        attachment = secondary::attach(domain_name, std::chrono::seconds{10}, "bench");
        ours = std::make_unique<heap>(attachment->heap());
    }
    return {"ours", [](std::size_t bytes) { return ours->malloc(bytes); },
            [](void* block) { ours->free(block); }};
}

std::size_t dpdk_used_bytes()
{
    return eal_heap().allocated;
}

std::size_t cohort_used_bytes()
{
    return ours->layout().counters.used_bytes;
}

}  // namespace cohort::bench
