/*
 * server_plant.h - bugs that are planted in the simulated server (enum world_plant): around each
 * step of a worker, and by the linker (--wrap) in functions of the server.
 */
#ifndef TESTS_SIM_SERVER_PLANT_H
#define TESTS_SIM_SERVER_PLANT_H

#include "tests/sim/server_world.h"

struct worker;

void plant_before(const struct world *w, struct worker *x);
void plant_after(const struct world *w, struct worker *x);

#endif
